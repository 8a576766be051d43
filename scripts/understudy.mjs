#!/usr/bin/env node
/**
 * The command `understudy` as npm and npx start it: makes the clone ready where it is not, then hands over to the
 * compiled command. Plain JavaScript, because it must run before anything has been compiled.
 */
import { bootstrapOrExit } from './bootstrap.mjs'

await bootstrapOrExit()
await import(new URL('../build/scripts/understudy.js', import.meta.url).href)
