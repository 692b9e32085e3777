// The page server's JSON API (see shell/api.py). Every failure is an ApiError, with what the server said.
const ROOT = new URL(document.documentElement.dataset.root, location.href)
const TIMEOUT_MS = 30000

export const address_of = (path) => new URL(path.replace(/^\//, "./"), ROOT)

export class ApiError extends Error {
  constructor(message, {status = 0, code = "", position = null, length = null} = {}) {
    super(message)
    Object.assign(this, {status, code, position, length})
  }
}

const call = async (method, what, {query = [], body, signal} = {}) => {
  const url = address_of(`/shell/${what}`), abort = new AbortController()
  for (const [name, value] of query) if (value != null) url.searchParams.append(name, value)
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS)
  signal?.addEventListener("abort", () => abort.abort())
  let answer, said
  try {
    const headers = body === undefined ? {} : {"Content-Type": "application/json"}
    answer = await fetch(url, {method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", signal: abort.signal})
    said = await answer.text()
  } catch (error) {
    if (signal?.aborted) throw error
    throw new ApiError("The page server does not answer.")
  } finally {
    clearTimeout(timer)
  }
  let data = null
  try { data = said ? JSON.parse(said) : {} } catch { /* a proxy's page, or the door's */ }
  if (answer.status == 401) throw new ApiError("This page needs a token: reload it.", {status: 401})
  if (!answer.ok || data == null) {
    const {message, ...more} = data?.error ?? {}
    throw new ApiError(message ?? `The page server answers ${answer.status}.`, {status: answer.status, ...more})
  }
  return data
}

export const ask = (what, query = {}, options = {}) =>
  call("GET", what, {query: Object.entries(query).flatMap(([name, its]) => (Array.isArray(its) ? its : [its]).map((one) => [name, one])), ...options})
export const change = (what, body, method = "POST") => call(method, what, {body})

// Calls `heard` whenever an app's list of runs has changed, by long polls, for as long as this tab can be seen.
export const follow = ({app, heard, lost}) => {
  let is_over = false, failures = 0, after = null
  const abort = new AbortController()
  const seen = () => document.hidden ? new Promise((go) => document.addEventListener("visibilitychange", go, {once: true})) : null
  const loop = async () => {
    while (!is_over) {
      await seen()
      try {
        const head = await ask("tail", {app, after}, {signal: abort.signal})
        if (is_over) return
        if (failures > 0 || head.cursor != after) heard(head)
        after = head.cursor
        if (failures > 0) lost(null)
        failures = 0
      } catch (error) {
        if (is_over) return
        if (failures++ > 0) lost(error)
        await new Promise((go) => setTimeout(go, Math.min(5000, 500 * failures)))
      }
    }
  }
  loop()
  return () => { is_over = true; abort.abort() }
}
