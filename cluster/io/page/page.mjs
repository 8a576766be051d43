/** The live page: draws each view that the feed brings. Elements are kept and changed in place, so that focus stays. */
import { Chart, timeline } from './charts.mjs'

const find = (id) => document.getElementById(id)
const cards = new Map()
const rows = new Map()
const before = new Map()
let logged = 0
let shownTakeover = ''
let last = null

const charts = {
  throughput: new Chart('Throughput of the clients', (v) => `${((v * 8) / 1e6).toFixed(1)} Mbit/s`),
  frames: new Chart('Frames heard per node', (v) => `${Math.round(v)}/s`),
  drops: new Chart('Frames dropped as faulty or too many', (v) => `${Math.round(v)}/s`),
  ready: new Chart('Shadows that could take over', (v) => `${v.toFixed(0)} %`),
}
for (const chart of Object.values(charts)) find('charts').append(chart.figure)

function connect() {
  const feed = new WebSocket(`ws://${location.host}/feed`)
  feed.onopen = () => say('live', false)
  feed.onmessage = ({ data }) => draw(JSON.parse(data))
  feed.onclose = () => {
    say('lost the feed: trying again', true)
    setTimeout(connect, 1000)
  }
}

function say(text, lost) {
  find('feed').textContent = text
  find('feed').classList.toggle('lost', lost)
}

function draw(view) {
  const now = performance.now()
  drawNodes(view)
  drawTakeover(view)
  drawConnections(view)
  drawLog(view)
  if (last !== null) drawCharts(view, (now - last) / 1000)
  else drawCharts(view, Number.POSITIVE_INFINITY)
  last = now
}

function element(name, className, text = '') {
  const made = document.createElement(name)
  if (className) made.className = className
  made.textContent = text
  return made
}

function roleOf(id, view) {
  const process = view.processes[id]
  if (process !== undefined && process !== 'ready') return process === 'ended' ? 'dead' : process
  const node = view.nodes.find((each) => each.id === id)
  if (node === undefined) return peerSeen(id, view) ? 'up' : 'dead'
  if (node.bindings.some(({ state }) => state === 'owner')) return 'owner'
  return node.bindings[0]?.state ?? 'up'
}

function peerSeen(id, view) {
  return view.nodes.some(({ peers }) => peers.some((peer) => peer.id === id && peer.up))
}

function allIds(view) {
  const ids = new Set(Object.keys(view.processes).map(Number))
  for (const node of view.nodes) {
    ids.add(node.id)
    for (const peer of node.peers) ids.add(peer.id)
  }
  return [...ids].sort((a, b) => a - b)
}

function drawNodes(view) {
  find('cluster').textContent = view.nodes[0]?.cluster ?? ''
  const ids = allIds(view)
  const owned = view.nodes.flatMap((node) =>
    node.bindings
      .filter(({ state }) => state === 'owner')
      .map((binding) => `node ${node.id} owns ${portsOf(binding)}`),
  )
  const text = owned.length > 0 ? owned.join('; ') : 'nobody owns the address now'
  change(find('summary'), `${ids.length} nodes on the link: ${text}.`)
  for (const id of ids) {
    let card = cards.get(id)
    if (card === undefined) {
      card = newCard(id, view.verbs)
      cards.set(id, card)
      find('nodes').append(card.item)
    }
    const role = roleOf(id, view)
    const node = view.nodes.find((each) => each.id === id)
    card.item.className = `node ${role === 'dead' || role === 'stopped' ? 'down' : role}`
    change(card.role, role)
    change(card.what, node === undefined ? nothingOf(role) : whatOf(node))
    for (const [verb, button] of card.buttons) button.disabled = !applies(verb, role)
  }
}

function nothingOf(role) {
  return role === 'up' ? 'speaks for itself on its own page' : 'says nothing'
}

function whatOf(node) {
  return node.bindings
    .map((binding) => {
      const { ready, gap, untracked } = binding.shadows
      if (binding.state === 'owner')
        return `${count(binding.connections, 'connection')} in term ${binding.epoch}`
      const faults = [
        gap > 0 ? `${gap} with a gap` : '',
        untracked > 0 ? `${untracked} untracked` : '',
      ]
      return [`${count(ready, 'shadow')} ready`, ...faults.filter(Boolean)].join(', ')
    })
    .join('; ')
}

function applies(verb, role) {
  if (verb === 'start') return role === 'dead' || role === 'absent'
  if (verb === 'cont') return role === 'stopped'
  if (verb === 'switchover') return role === 'owner'
  return role !== 'dead' && role !== 'absent' && role !== 'stopped'
}

const NOT_OURS = /^(ethernet-other-mac|ethernet-unknown-type|ipv4-not-ours|tcp-quiet)$/
const VERBS = {
  kill: 'Kill',
  stop: 'Stop',
  cont: 'Continue',
  start: 'Start',
  switchover: 'Hand over',
}

function newCard(id, verbs) {
  const item = element('li', 'node')
  const title = element('h3', '', `Node ${id}`)
  const role = element('span', 'role')
  title.append(role)
  const what = element('p')
  item.append(title, what)
  const buttons = new Map()
  const bar = element('div', 'buttons')
  for (const verb of verbs) {
    const button = element('button', '', VERBS[verb] ?? verb)
    button.type = 'button'
    button.dataset.verb = verb
    button.dataset.node = id
    button.setAttribute('aria-label', `${VERBS[verb] ?? verb} node ${id}`)
    button.onclick = () => command(verb, id)
    buttons.set(verb, button)
    bar.append(button)
  }
  if (verbs.length > 0) item.append(bar)
  return { item, role, what, buttons }
}

async function command(verb, node) {
  const headers = { 'x-understudy': '1' }
  const answer = await fetch(`/command?verb=${verb}&node=${node}`, { method: 'POST', headers })
  if (!answer.ok) addLine(Date.now(), (await answer.text()).trim())
}

function drawTakeover(view) {
  const all = view.nodes.flatMap(({ takeovers }) => takeovers)
  const latest = all.sort((a, b) => a.at - b.at).at(-1)
  if (latest === undefined) return
  const mark = `${latest.at} ${latest.to} ${latest.answeredMs}`
  if (mark === shownTakeover) return
  shownTakeover = mark
  const given = Object.entries(latest.givenUp).map(([reason, n]) => `${n} given up (${reason})`)
  find('takeover-text').textContent =
    `Node ${latest.to} took over from node ${latest.from} at ${clock(latest.at)} (${latest.cause}): ` +
    [`${latest.promoted} of ${count(latest.connections, 'connection')} promoted`, ...given].join(
      ', ',
    ) +
    '. Milliseconds count from the last sign of life of the old owner.'
  find('timeline').replaceChildren(...timeline(latest))
}

function drawConnections(view) {
  const seen = new Map()
  for (const node of view.nodes) {
    for (const binding of node.bindings) {
      for (const told of binding.told) {
        const key = `${told.remote} ${told.local}`
        const entry = seen.get(key) ?? { told, places: [] }
        if (told.verdict === 'owned') entry.told = told
        entry.places.push({ id: node.id, verdict: told.verdict, gap: told.gap })
        seen.set(key, entry)
      }
    }
  }
  for (const [key, row] of rows) {
    if (seen.has(key)) continue
    row.remove()
    rows.delete(key)
  }
  for (const [key, entry] of seen) drawRow(key, entry)
  find('no-connections').hidden = seen.size > 0
}

function drawRow(key, { told, places }) {
  let row = rows.get(key)
  if (row === undefined) {
    row = element('tr')
    for (let i = 0; i < 7; i++) row.append(element('td', i >= 3 && i <= 5 ? 'number' : ''))
    rows.set(key, row)
    find('connections').append(row)
  }
  const texts = [
    told.remote,
    told.local,
    told.state.toLowerCase().replaceAll('_', '-'),
    octets(told.received),
    octets(told.sent),
    told.rttMs === null ? '–' : `${told.rttMs.toFixed(1)} ms`,
    places
      .map(({ id, verdict, gap }) => `${id}: ${verdict}${gap > 0 ? ` of ${gap}` : ''}`)
      .join('  '),
  ]
  for (const [i, text] of texts.entries()) change(row.children[i], text)
  row.children[6].className = places.some(({ verdict }) => verdict === 'gap') ? 'gap' : ''
}

function drawLog(view) {
  const all = view.nodes.flatMap((node) =>
    node.decisions.map(({ at, report }) => ({ at, text: `node ${node.id}: ${sentence(report)}` })),
  )
  all.sort((a, b) => a.at - b.at)
  const fresh = all.filter(({ at }) => at > logged)
  for (const { at, text } of fresh.slice(-30)) addLine(at, text)
  if (fresh.length > 0) logged = fresh.at(-1).at
}

function sentence(r) {
  switch (r.event) {
    case 'peer':
      return `met node ${r.node}`
    case 'peer-down':
      return `node ${r.node} is down (${r.cause})`
    case 'suspect':
      return `suspects node ${r.node} (${r.cause})`
    case 'owner':
      return `owns binding ${r.binding} in term ${r.epoch} (${r.cause})`
    case 'standby':
      return `stands by for node ${r.owner} in term ${r.epoch}`
    case 'takeover':
      return `took ${count(r.promoted, 'connection')} over from node ${r.from} in ${r.ms.toFixed(1)} ms`
    case 'fenced':
      return 'lost its lease and is silent'
    default:
      return r.event
  }
}

function addLine(at, text) {
  const item = element('li')
  item.append(element('time', '', clock(at)), text)
  find('log').prepend(item)
  while (find('log').children.length > 100) find('log').lastChild.remove()
}

function drawCharts(view, seconds) {
  const moved = view.nodes.reduce((sum, node) => {
    const told = node.bindings.flatMap((binding) => binding.told)
    return (
      sum +
      told
        .filter(({ verdict }) => verdict === 'owned')
        .reduce(
          (all, each) => all + grown(`c ${each.remote} ${each.local}`, each.received + each.sent),
          0,
        )
    )
  }, 0)
  const heard = view.nodes.reduce(
    (sum, node) => sum + grown(`f ${node.id} ${node.pid}`, node.framesHeard),
    0,
  )
  const dropped = view.nodes.reduce(
    (sum, node) => sum + grown(`d ${node.id} ${node.pid}`, faults(node.drops)),
    0,
  )
  if (!Number.isFinite(seconds)) return
  charts.throughput.add(moved / seconds)
  charts.frames.add(heard / seconds / Math.max(view.nodes.length, 1))
  charts.drops.add(dropped / seconds)
  charts.ready.add(readyShare(view))
  drawFrames(heard / seconds)
}

// What is not ours by its address is no fault: a permanency peer hears everything.
function faults(drops) {
  return Object.entries(drops).reduce(
    (sum, [reason, n]) => (NOT_OURS.test(reason) ? sum : sum + n),
    0,
  )
}

// Of all shadows at all peers, how many could be promoted now.
function readyShare(view) {
  const all = { ready: 0, other: 0 }
  for (const node of view.nodes) {
    for (const { shadows } of node.bindings) {
      all.ready += shadows.ready
      all.other += shadows.gap + shadows.untracked
    }
  }
  return all.ready + all.other === 0 ? 100 : (100 * all.ready) / (all.ready + all.other)
}

// How much a counter has grown since the last view; a counter seen for the first time has not.
function grown(key, value) {
  const old = before.get(key)
  before.set(key, value)
  return old === undefined ? 0 : Math.max(value - old, 0)
}

const still = matchMedia('(prefers-reduced-motion: reduce)')

// A few dots stand for many frames: as many as the logarithm of their rate.
function drawFrames(rate) {
  if (still.matches || rate < 5) return
  const wire = find('wire')
  for (let i = 0; i < Math.min(Math.ceil(Math.log10(rate)), 6); i++) {
    const dot = element('span', 'frame')
    wire.append(dot)
    const move = dot.animate([{ left: '0%' }, { left: '100%' }], {
      duration: 900 + 300 * Math.random(),
      delay: 40 * i,
    })
    move.onfinish = () => dot.remove()
  }
}

function change(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function portsOf({ address, firstPort, lastPort }) {
  if (firstPort === 1 && lastPort === 65535) return address
  return firstPort === lastPort
    ? `${address} port ${firstPort}`
    : `${address} ports ${firstPort} to ${lastPort}`
}

const count = (n, thing) => `${n} ${thing}${n === 1 ? '' : 's'}`
const TIME = {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
}
const clock = (at) => new Date(at).toLocaleTimeString('en-GB', TIME)

function octets(n) {
  if (n < 0) return '–'
  if (n < 1024) return `${n} B`
  if (n < 1024 ** 2) return `${(n / 1024).toFixed(1)} KiB`
  return n < 1024 ** 3 ? `${(n / 1024 ** 2).toFixed(1)} MiB` : `${(n / 1024 ** 3).toFixed(2)} GiB`
}

connect()
