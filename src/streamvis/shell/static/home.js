// The root: all pages, and all runs of all apps.
import * as address from "./address.js"
import {ThemeButton} from "./bar.js"
import {html, useStore} from "./ui.js"

export const Home = ({site}) => {
  useStore(site)
  return html`<div class="shell">
    <header class="bar">
      <b class="home">Streamvis</b>
      <nav class="pages" aria-label="Pages">
        ${site.pages.map((page) => html`<a href=${address.shell_address(page.path, [])}>${page.name}</a>`)}
      </nav>
      <span class="space"></span>
      ${site.trouble && html`<span class="trouble" role="status">${site.trouble}</span>`}
      <${ThemeButton} />
    </header>
  </div>`
}
