/**
 * Channels: who on this node hears what is published here. Nothing of it is kept: as with Redis, a message is for those who listen.
 */
import { Glob } from './command.js'

/** A client that hears channels. */
export interface Subscriber {
  readonly channels: ReadonlySet<string> & { clear(): void }
  readonly patterns: ReadonlySet<string> & { clear(): void }
  message(words: readonly string[]): string
  deliver(message: string): void
}

export class Channels {
  readonly #subscribers = new Set<Subscriber>()

  add(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber)
  }

  /** The subscriber hears nothing any more. */
  forget(subscriber: Subscriber): void {
    subscriber.channels.clear()
    subscriber.patterns.clear()
    this.#subscribers.delete(subscriber)
  }

  /** Tells everybody who hears `channel`. Returns how many that were. */
  publish(channel: string, text: string): number {
    let count = 0
    for (const subscriber of this.#subscribers) {
      if (subscriber.channels.has(channel)) {
        subscriber.deliver(subscriber.message(['message', channel, text]))
        count++
      }
      for (const pattern of subscriber.patterns) {
        if (!new Glob(pattern).test(channel)) continue
        subscriber.deliver(subscriber.message(['pmessage', pattern, channel, text]))
        count++
      }
    }
    return count
  }
}
