// Stands in every page, and says why where it gets no connection to the page server. All other notices are those of link.js, which
// arrives by that connection. Nothing here may rely on it, nor on BokehJS, which may be missing too.
// MADE_MS is when the page server wrote this, LIFETIME_MS how long it then accepts the page's connection.
(() => {
  const ASK_AFTER_MS = 4000, ASK_EVERY_MS = 4000, ASK_TIMEOUT_MS = 5000, TOLD_AFTER_ALLOWED = 4
  const PROXY = "A proxy in between has to pass WebSockets on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; " +
    'proxy_set_header Connection "upgrade";).'
  let host = null, allowed = 0, was_away = false

  const is_connected = () => window.streamvis != null
  const show = (title, text) => {
    if (is_connected() || document.body == null) return
    if (host == null) {
      host = document.createElement("div")
      host.id = "streamvis-unconnected"
      host.setAttribute("role", "alert")
      host.style.cssText = "position:fixed;z-index:99999;left:50%;top:10px;transform:translateX(-50%);width:min(760px,calc(100vw - 20px));" +
        "box-sizing:border-box;padding:12px 18px;border:1px solid #d98a00;border-radius:8px;background:#fff4d6;color:#1c2733;" +
        "font:14px/1.45 system-ui,sans-serif;overflow-wrap:anywhere;box-shadow:0 4px 18px #0004"
      host.append(document.createElement("b"), document.createElement("p"))
      host.lastChild.style.margin = ".3em 0 0"
    }
    host.firstChild.textContent = title
    host.lastChild.textContent = text
    if (!host.isConnected) document.body.append(host)
  }

  // Asked at the address of the WebSocket, with a method for which browsers name the page's origin: both are refused for the same reason.
  const ask = async () => {
    const abort = new AbortController(), timer = setTimeout(() => abort.abort(), ASK_TIMEOUT_MS)
    try {
      const answer = await fetch(location.pathname.replace(/\/+$/, "") + "/ws", {method: "POST", cache: "no-store", signal: abort.signal})
      const said = (await answer.text()).slice(0, 1000).trim()
      if (is_connected()) return
      // The server is back, or there is another one, which asks for its own token.
      if ((was_away && answer.ok) || answer.status == 401) return location.reload()
      // A page that the browser kept, as with a tab that was closed and is opened again, is too old to be connected.
      if (answer.ok && Date.parse(answer.headers.get("Date")) - MADE_MS > LIFETIME_MS) return location.reload()
      if (answer.status == 403 || answer.status == 421) return show("The page server refuses the connection of this page", said)
      if (!answer.ok) return show("No connection to the page server", `Its address answers ${answer.status}. ${PROXY}`)
      allowed += 1
      if (window.Bokeh == null) show("The scripts of this page did not load", "They are loaded from the path static/ next to this page.")
      else if (allowed >= TOLD_AFTER_ALLOWED) show("Still no connection to the page server", `${said}. No WebSocket has come through so far. ${PROXY}`)
    } catch {
      was_away = true
      show("The page server does not answer", "This page reloads as soon as it does.")
    } finally {
      clearTimeout(timer)
    }
  }

  const look = () => {
    if (!is_connected()) return ask().finally(() => setTimeout(look, ASK_EVERY_MS))
    host?.remove()
  }
  setTimeout(look, ASK_AFTER_MS)
})()
