// The root: all pages, and all runs of all apps.
import * as address from "./address.js"
import {Toasts} from "./actions.js"
import {ask} from "./api.js"
import {ThemeButton} from "./bar.js"
import {RunsPanel} from "./list.js"
import {html, useEffect, useState, useStore} from "./ui.js"

const DEFAULT_PAGE = "/runs"

// A run opens on the page of its app, else on the one for any run.
const page_of = (site, app) => site.pages.find((page) => page.app == app)?.path ?? DEFAULT_PAGE
export const href_of = (site, run) => address.shell_address(page_of(site, run.app), [["app", run.app], ["run", run.run]])

export const Home = ({site, list}) => {
  useStore(site)
  useStore(list)
  const [chosen, set_chosen] = useState(new Set()), [apps, set_apps] = useState([])
  useEffect(() => { ask("apps").then(({apps}) => set_apps(apps), () => {}) }, [list.matching])
  const choose = (ids, is_chosen) => set_chosen((before) => new Set(is_chosen ? [...before, ...ids] : [...before].filter((id) => !ids.includes(id))))
  const turn = (event) => {
    address.change({app: event.target.value || null}, {as_step: true})
    set_chosen(new Set())
    list.show_app(event.target.value || null)
  }
  const picked = list.those(chosen), of_one_app = new Set(picked.map(({app}) => app)).size == 1
  const together = () => address.shell_address(page_of(site, picked[0].app), [["app", picked[0].app], ...picked.map(({run}) => ["run", run])])
  return html`<div class="shell">
    <header class="bar">
      <b class="home">Streamvis</b>
      <label class="of-app"><span class="muted">App</span> <select value=${list.app ?? ""} onChange=${turn}><option value="">all</option>
        ${apps.map(({name, runs}) => html`<option value=${name} key=${name}>${name} (${runs})</option>`)}</select></label>
      ${of_one_app && html`<a class="open" href=${together()}>Open ${picked.length} on a page</a>`}
      <span class="space"></span>
      <nav class="pages" aria-label="Pages">${site.pages.map((page) => html`<a href=${address.shell_address(page.path, [])} key=${page.path}>${page.name}</a>`)}</nav>
      ${site.trouble && html`<span class="trouble" role="status">${site.trouble}</span>`}
      <${ThemeButton} />
    </header>
    <main class="whole"><${RunsPanel} list=${list} site=${site} chosen=${chosen} shown=${new Map()} choose=${choose} href=${(run) => href_of(site, run)}
      clear=${() => set_chosen(new Set())} /></main>
    <${Toasts} />
  </div>`
}
