// Light or dark: the choice is shared with pages by what the browser keeps, which tells other documents when it changes.
import {kept} from "./ui.js"

const root = document.documentElement
const use = (theme) => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme }
use(kept.get("theme"))
addEventListener("storage", (event) => { if (event.key == "streamvis-theme") use(event.newValue) })

export const switch_theme = () => {
  const theme = getComputedStyle(root).colorScheme == "dark" ? "light" : "dark"
  use(theme)
  kept.set("theme", theme)
  // A browser that keeps nothing tells no one.
  for (const frame of document.querySelectorAll("iframe")) {
    try { frame.contentWindow.dispatchEvent(new StorageEvent("storage", {key: "streamvis-theme", newValue: theme})) } catch { /* not ours */ }
  }
}
