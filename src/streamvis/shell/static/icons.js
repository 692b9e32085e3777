// The pictures on buttons.
import {html} from "./ui.js"

const ICONS = {
  list: "M2 4h12M2 8h12M2 12h12", past: "M8 4v4l3 2M8 2a6 6 0 11-6 6M2 3v3h3", play: "M5 3l8 5-8 5z", pause: "M5 3v10M11 3v10",
  diagnosis: "M2 8h3l2-5 3 10 2-5h2",
  save: "M8 2v8M5 7l3 3 3-3M3 13h10",
  loop: "M4 5h7a3 3 0 010 6H5M4 5l2-2M4 5l2 2", alone: "M9 3h4v4M13 3L7 9M6 4H3v9h9v-3", theme: "M8 2a6 6 0 100 12zM8 2a6 6 0 010 12",
  bell: "M8 2a4 4 0 014 4v3l1.5 2.5h-11L4 9V6a4 4 0 014-4M6.5 13.5a1.6 1.6 0 003 0",
}
export const Icon = ({name}) =>
  html`<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d=${ICONS[name]} fill=${name == "theme" ? "currentColor" : "none"}
    fill-opacity=${name == "theme" ? .35 : null} stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" /></svg>`
