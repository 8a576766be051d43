/**
 * What the database must know of a client to go on with it: who it is, its settings, its prepared statements. All clients share the
 * one session of the database, and a peer has to open a new one: both need the same, and so it is in the client's checkpoint.
 */

/** Characters of all that is remembered for one client: it goes into each of its checkpoints. */
export const MAX_MEMORY = 256 * 1024

/** A statement that was prepared by a Parse message. */
export interface PreparedStatement {
  readonly query: string
  /** Types of parameters, as object ids. */
  readonly types: readonly number[]
}

/** Any JSON value has room in a checkpoint; this is one. */
export interface SessionMemory {
  readonly user: string
  readonly settings: Readonly<Record<string, string>>
  /** By name; '' is the one without a name. */
  readonly statements: Readonly<Record<string, PreparedStatement>>
  /** PREPARE statements of SQL, by name. */
  readonly prepared: Readonly<Record<string, string>>
}

/** What a client's startup message asks for. Names are PostgreSQL's. */
export interface Startup {
  readonly user: string
  readonly database: string
  readonly settings: Readonly<Record<string, string>>
}

/** Reads the parameters of a startup message, names and values by turns. */
export function readStartup(pairs: readonly string[]): Startup {
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < pairs.length; i += 2) fields.set(pairs[i] ?? '', pairs[i + 1] ?? '')
  const user = fields.get('user') ?? ''
  const database = fields.get('database') ?? user
  const settings: Record<string, string> = optionsOf(fields.get('options') ?? '')
  for (const [name, value] of fields) {
    if (['user', 'database', 'options', 'replication'].includes(name)) continue
    if (!name.startsWith('_pq_.')) settings[name] = value
  }
  return { user, database, settings }
}

// -c name=value, --name=value; a backslash keeps a blank.
function optionsOf(options: string): Record<string, string> {
  const settings: Record<string, string> = {}
  const words = options.match(/(?:\\.|\S)+/g) ?? []
  for (const [i, word] of words.entries()) {
    const plain = word.replace(/\\(.)/g, '$1')
    const given = words[i - 1] === '-c' ? plain : plain.replace(/^(?:-c|--)/, '')
    const [, name, value] = /^([\w.-]+)=(.*)$/s.exec(given) ?? []
    if (name !== undefined && value !== undefined) settings[name.replace(/-/g, '_')] = value
  }
  return settings
}

export function newMemory({ user, settings }: Startup): SessionMemory {
  return { user, settings, statements: {}, prepared: {} }
}

/** Whether so much can be remembered. */
export function hasRoom(memory: SessionMemory): boolean {
  return JSON.stringify(memory).length <= MAX_MEMORY
}
