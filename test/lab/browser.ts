/** Where a browser for the tests of pages is. */
import { existsSync } from 'node:fs'

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** The program of a Chromium, or null when none is installed. */
export function findBrowser(): string | null {
  return BROWSERS.find((path) => existsSync(path)) ?? null
}
