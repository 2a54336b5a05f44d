-- Sends each study with CT images to IRIS when nothing has come for StableAge seconds, again and again until it has
-- arrived; with them go its rejection notes. Written for Orthanc 1.10.1 on a system with a shell and curl; docs/pacs.md says how to set it up.

local NOT_ARRIVED = '/var/lib/orthanc/not-at-iris'  -- a file that Orthanc may write: what IRIS does not have yet
local BELL = '/etc/orthanc/to-iris.curl'            -- how curl reaches this Orthanc
local PAUSE_S = 30

local coming = {}      -- Study Instance UID -> study: is still being received
local waiting = {}     -- studies that are to be sent; the first is tried first
local sending = {}     -- job -> the study that it sends
local restsUntil = 0

-- Orthanc forgets at a restart what was not stable yet, and what it was sending: the file does not.
local function keep()
   local file = assert(io.open(NOT_ARRIVED .. '.new', 'w'))
   for _, studies in ipairs({ waiting, coming }) do
      for _, study in pairs(studies) do
         file:write(study, '\n')
      end
   end
   file:close()
   assert(os.rename(NOT_ARRIVED .. '.new', NOT_ARRIVED))
end

local function remove(study)
   for number, one in ipairs(waiting) do
      if one == study then
         table.remove(waiting, number)
      end
   end
end

local function send(study)
   local series, hasImages = {}, false
   for _, one in pairs(ParseJson(RestApiGet('/studies/' .. study .. '/series') or '[]')) do
      local modality = one['MainDicomTags']['Modality']
      hasImages = hasImages or modality == 'CT'
      if modality == 'CT' or modality == 'KO' then
         table.insert(series, one['ID'])
      end
   end
   remove(study)
   if hasImages then
      table.insert(waiting, study)
      local job = RestApiPost('/modalities/iris/store', DumpJson({ Resources = series, Asynchronous = true }))
      sending[ParseJson(job)['ID']] = study
   end
   keep()
end

local function idle()
   local studies, underWay = {}, {}
   for _, study in pairs(sending) do
      underWay[study] = true
   end
   for _, study in ipairs(waiting) do
      if not underWay[study] then
         table.insert(studies, study)
      end
   end
   return studies
end

-- One of them: when it arrives the others follow. In a while curl submits an empty job; its end calls OnJobSuccess.
-- To wait here instead would hold up all of Orthanc.
local function tryOne()
   if #waiting > 0 and os.time() >= restsUntil then
      restsUntil = os.time() + PAUSE_S
      os.execute('(sleep ' .. PAUSE_S .. '; exec curl -s -K ' .. BELL .. ') > /dev/null 2>&1 &')
      local study = idle()[1]
      if study ~= nil then
         send(study)
      end
   end
end

function OnStoredInstance(instance, tags, metadata, origin)
   if tags['Modality'] == 'CT' and coming[tags['StudyInstanceUID']] == nil then
      coming[tags['StudyInstanceUID']] = ParseJson(RestApiGet('/instances/' .. instance .. '/study'))['ID']
      keep()
   end
end

function OnStableStudy(study, tags, metadata, origin)
   coming[tags['StudyInstanceUID']] = nil
   send(study)
end

function OnJobSuccess(job)
   local study = sending[job]
   sending[job] = nil
   if study == nil then
      tryOne()
   else
      remove(study)
      keep()
      for _, other in ipairs(idle()) do
         send(other)
      end
   end
end

function OnJobFailure(job)
   sending[job] = nil
   tryOne()
end

function Initialize()
   local file = io.open(NOT_ARRIVED)
   if file ~= nil then
      for study in file:lines() do
         table.insert(waiting, study)
      end
      file:close()
   end
   tryOne()
end
