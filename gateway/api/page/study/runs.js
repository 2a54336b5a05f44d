// Each time that a job was handed to a queue: how it ended, what it cost, where what it printed lies.

import { make, time } from "../parts/dom.js";
import { duration } from "../parts/numbers.js";
import { say } from "../parts/words.js";

export function runs(job) {
  if (!job.runs.length) {
    return job.attempts ? make("p", { class: "why" }, say("Runs begun: {n}", { n: job.attempts })) : null; // as in the cloud
  }
  const last = job.runs.at(-1);
  const title = job.attempts === 1 ? say("1 run") : say("{n} runs", { n: job.attempts });
  return make("details", { "data-keep": `runs ${job.job_key}` },
    make("summary", {}, title, last.cost ? `: ${inShort(last.cost)}` : ""),
    make("ol", {}, job.runs.map(run)));
}

function run(one) {
  return make("li", { value: one.run },
    one.where === "batch" ? say("At AWS Batch,") : one.where === "local" ? say("On this machine,") : "", " ",
    one.started ? [say("started"), " ", time(one.started)] : [say("handed over"), " ", time(one.submitted)],
    one.ended ? [", ", say("ended"), " ", time(one.ended), `: ${one.how}`] : [": ", say("goes on")],
    one.cost ? make("div", { class: "why" }, inFull(one.cost)) : null,
    printed(one));
}

function printed(one) {
  if (one.log_stream) {
    const name = one.log_url ? make("a", { href: one.log_url, target: "_blank", rel: "noopener noreferrer" }, one.log_stream) : make("code", {}, one.log_stream);
    return make("div", { class: "why" }, say("What it printed, in CloudWatch:"), " ", name);
  }
  if (one.where !== "local" || !one.ended) return null;
  return make("div", { class: "why" }, say("What it said last stands above; the gateway's own log has the rest under the job's key."));
}

// "110 s of g4dn.xlarge, 0.0270 USD".
function inShort(cost) {
  const machine = cost.machine || say("this machine");
  const time = say("{time} of {machine}", { time: duration(cost.machine_s), machine });
  return cost.usd === null ? time : `${time}, ${money(cost.usd + (cost.usd_shared ?? 0) + (cost.usd_lost ?? 0))}`;
}

function inFull(cost) {
  const price = () => ({ price: cost.usd_per_hour.toFixed(4) });
  const kind = cost.usd_per_hour === null ? "" : cost.is_spot_price ? say("Spot at {price} USD an hour", price())
    : cost.is_spot ? say("Spot at less than {price} USD an hour", price()) : say("at {price} USD an hour", price());
  return [
    [cost.machine || say("this machine"), kind].filter(Boolean).join(", "),
    say("held for {time}", { time: duration(cost.machine_s) }),
    cost.gpu_s ? say("with the GPU at work for {time}", { time: duration(cost.gpu_s) }) : "",
    cost.shared_s === null ? "" : say("start and idle before: {time}", { time: duration(cost.shared_s) }),
    cost.usd === null ? "" : say("about {usd} for the run", { usd: money(cost.usd) }),
    cost.usd_shared === null ? "" : say("{usd} for the time before it", { usd: money(cost.usd_shared) }),
    cost.lost_s ? say("attempts that Spot took away: {time}", { time: duration(cost.lost_s) }) : "",
    cost.usd_lost ? say("{usd} for those", { usd: money(cost.usd_lost) }) : "",
  ].filter(Boolean).join("; ");
}

const money = (usd) => `${usd.toFixed(4)} USD`;
