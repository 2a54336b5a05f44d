// The way from a study into the site's own viewer (api.viewer_url).

import { make } from "./dom.js";
import { say } from "./words.js";

// null where there is no viewer, or the study has no place in it.
export function viewerLink(study) {
  if (!study.viewer_url) return null;
  return make("a", { class: "viewer", href: study.viewer_url, target: "_blank", rel: "noopener noreferrer", "data-focus": `viewer ${study.study_key}` },
    say("Open in the viewer"));
}
