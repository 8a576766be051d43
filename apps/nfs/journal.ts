/**
 * What was seen before a file system was changed. The change itself cannot be part of the store's transaction, so what was there
 * is stored first (the intent), and the answer afterwards. When the owner dies between the two, the next one hears the request
 * again, and decides by the intent whether the change was made.
 *
 * What remains in doubt: between the death and the decision someone else may have made the same change, or undone it. Who
 * removes a file that another client has removed meanwhile is told that it was done, and not that there was none. And a COMPOUND of
 * NFSv4 begins again from its first operation: one that looks a name up, and renames or removes it later, does not find it then.
 */

/** What one request saw, in the order of its changes. */
export type Intents = readonly unknown[]

/**
 * Thrown when a change is about to be made of which no intent is stored: store `intents`, and begin the request again. It is no
 * Error, because each change throws it once, and a stack is costly.
 */
export class NeedsIntent {
  readonly intents: Intents

  constructor(intents: Intents) {
    this.intents = intents
  }
}

export class Journal {
  readonly #intents: Intents
  #next = 0
  #changed = false

  /** `intents` are those that are stored for the request. */
  constructor(intents: Intents) {
    this.#intents = intents
  }

  /** Whether the request has changed anything that must not be changed again. */
  get changed(): boolean {
    return this.#changed
  }

  /** The request changes something in the store. */
  change(): void {
    this.#changed = true
  }

  /** What `look` saw (a JSON value) before the change was first tried. Throws NeedsIntent when that is not stored. */
  before<T>(look: () => T): T {
    const at = this.#next++
    this.#changed = true
    if (at < this.#intents.length) return this.#intents[at] as T
    throw new NeedsIntent([...this.#intents, look()])
  }
}
