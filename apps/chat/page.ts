/** The page of the chat: no libraries, and no word about reconnecting, because it never has to. */
export const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Understudy chat</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 40rem; margin: 0 auto; padding: 1rem; display: flex; flex-direction: column; height: 100vh; box-sizing: border-box }
  h1 { font-size: 1.2rem; margin: 0 }
  #state { opacity: .7; margin: 0 0 .5rem }
  #lines { flex: 1; overflow-y: auto; list-style: none; margin: 0; padding: .5rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .5rem }
  #lines b { margin-right: .5rem }
  #lines small { float: right; opacity: .6 }
  .moved { text-align: center; opacity: .7; font-size: .85rem }
  form { display: flex; gap: .5rem; margin-top: .5rem }
  input { flex: 1; font: inherit; padding: .5rem }
  input#name { flex: 0 0 8rem }
  button { font: inherit; padding: .5rem 1rem }
</style>
<h1>Understudy chat</h1>
<p id="state" role="status">connecting</p>
<ul id="lines" aria-live="polite"></ul>
<form>
  <input id="name" aria-label="your name" maxlength="32" value="somebody">
  <input id="text" aria-label="what you say" maxlength="1000" placeholder="say something" autocomplete="off" autofocus>
  <button>Send</button>
</form>
<script>
  const at = (id) => document.getElementById(id)
  const query = new URLSearchParams(location.search)
  const room = query.get('room') ?? 'lobby'
  at('name').value = query.get('name') ?? 'somebody'
  let node = null, socket = null, moves = 0
  const show = () => { at('state').textContent = 'room ' + room + ', one connection' + (node === null ? '' : ', served by node ' + node) + (moves === 0 ? '' : '; servers that it outlived: ' + moves) }
  const add = (className, ...parts) => {
    const line = document.createElement('li')
    line.className = className
    for (const [tag, text] of parts) line.append(Object.assign(document.createElement(tag), { textContent: text }))
    at('lines').append(line)
    line.scrollIntoView()
  }
  const enter = () => {
    socket = new WebSocket('ws://' + location.host + '/chat?' + new URLSearchParams({ room, name: at('name').value }))
    socket.onopen = show
    socket.onmessage = ({ data }) => {
      const line = JSON.parse(data)
      if (node !== null && line.node !== node) { moves++; add('moved', ['span', 'node ' + node + ' died here; node ' + line.node + ' goes on']) }
      node = line.node
      add('', ['b', line.name], ['span', line.text], ['small', 'node ' + line.node])
      show()
    }
    socket.onclose = () => { at('state').textContent = 'the connection has ended: reload the page' }
  }
  at('name').onchange = () => { socket.onclose = null; socket.close(); at('lines').replaceChildren(); node = null; enter() }
  document.querySelector('form').onsubmit = (event) => {
    event.preventDefault()
    if (at('text').value !== '') socket.send(at('text').value)
    at('text').value = ''
  }
  enter()
</script>
</html>
`
