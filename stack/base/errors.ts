/**
 * Errors of a user: a wrong argument, a port in use, a connection that broke. Each has a stable `code` and says what to
 * do. Errors from the wire are never thrown: they are counted (see counters.ts).
 */

/** An error caused by the caller or by the network, with a stable `code`. */
export class StackError extends Error {
  override readonly name: string = 'StackError'
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
