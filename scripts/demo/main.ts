/** `npm run demo`: the demo as a program of its own. */
process.argv.splice(2, 0, 'demo')
await import('../understudy.js')

export {}
