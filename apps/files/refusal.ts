/** What the file server answers in place of a file. */
export class Refusal extends Error {
  /** The HTTP status. */
  readonly status: number

  /** `message` tells the client what to do. */
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }

  /** What `error` is for a client: what is not there, or our own fault. */
  static of(error: Error): Refusal {
    if (error instanceof Refusal) return error
    const code = (error as NodeJS.ErrnoException).code
    const missing = code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR'
    if (missing) return new Refusal(404, 'no such file')
    if (code === 'ENAMETOOLONG') return new Refusal(414, 'no file has a name so long')
    if (code === 'ENOSPC' || code === 'EDQUOT') return new Refusal(507, 'there is no room for it')
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      return new Refusal(403, 'the server may not do that with the file')
    }
    return new Refusal(500, 'the server failed')
  }
}
