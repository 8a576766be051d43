/**
 * Which client the database's one session belongs to just now: its user, its settings and what it has prepared by SQL are put in
 * the place of the last one's.
 */
import type { AttachResult } from './jobs.js'
import { hasRoom, type SessionMemory } from './memory.js'
import { ClientStatements, type LiveStatements } from './names.js'
import type { Said } from './output.js'
import { type Failure, parameterStatus } from './wire.js'

/** What clients are told of the session when they begin. */
const REPORTED = [
  'server_version',
  'server_encoding',
  'client_encoding',
  'application_name',
  'default_transaction_read_only',
  'in_hot_standby',
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
  'integer_datetimes',
  'standard_conforming_strings',
  'search_path',
] as const
const ENCODINGS = new Set(['utf8', 'unicode', 'sqlascii', 'auto'])

/** One client, as the database's thread knows it. */
export class ClientSession {
  readonly connection: string
  readonly statements: ClientStatements
  user: string
  settings: Readonly<Record<string, string>>
  prepared: Readonly<Record<string, string>>
  /** A transaction of it has left a mark. */
  marked = false
  /** Something may have been set, or prepared by SQL. */
  dirty = false
  /** What is to be remembered is not what the node knows. */
  changed = false

  constructor(connection: string, prefix: string, live: LiveStatements, memory: SessionMemory) {
    this.connection = connection
    this.statements = new ClientStatements(prefix, live, memory.statements)
    this.user = memory.user
    this.settings = memory.settings
    this.prepared = memory.prepared
  }

  get memory(): SessionMemory {
    const { user, settings, prepared, statements } = this
    return { user, settings, prepared, statements: statements.known }
  }

  noteTags(tags: readonly string[], live: LiveStatements): void {
    for (const tag of tags) {
      if (/^(?:SET|RESET|PREPARE|DEALLOCATE|DISCARD)\b/.test(tag)) this.dirty = true
      // Those of other clients are gone too, and are prepared again when they are used.
      if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') {
        live.clear()
        this.statements.clear()
        this.changed = true
      }
    }
  }
}

export class SessionSwitch {
  readonly #ask: (sql: string) => Said
  #superuser: string | null = null
  #current: ClientSession | null = null
  /** What the database's session has now. */
  #state = stateOf('', {}, {})
  #prepared: readonly string[] = []

  constructor(ask: (sql: string) => Said) {
    this.#ask = ask
  }

  get current(): ClientSession | null {
    return this.#current
  }

  /** The database has just been opened. */
  begin(): void {
    this.#superuser = this.#ask('SELECT session_user').rows[0]?.[0] ?? null
  }

  /** Whether the client may come in, and what it is to know of its session. */
  letIn(session: ClientSession, database: string | null): AttachResult {
    const nothing = new Uint8Array(0)
    const refused = database === null ? null : this.#whyNot(session, database)
    if (refused !== null) return { parameters: nothing, refused }
    const failed = this.enter(session)
    if (failed !== null && database !== null) return { parameters: nothing, refused: failed }
    if (database === null) return { parameters: nothing, refused: null }
    const { rows } = this.#ask(
      `SELECT ${REPORTED.map((name) => `pg_catalog.current_setting('${name}')`).join(', ')}`,
    )
    const values = rows[0] ?? []
    const all = REPORTED.map((name, i) => parameterStatus(name, values[i] ?? ''))
    all.push(parameterStatus('session_authorization', session.user))
    all.push(parameterStatus('is_superuser', session.user === this.#superuser ? 'on' : 'off'))
    return { parameters: Buffer.concat(all), refused: null }
  }

  #whyNot({ user, settings }: ClientSession, database: string): Failure | null {
    this.#leave()
    const { rows } = this.#ask(
      `SELECT pg_catalog.current_database(),
       (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = ${quoted(user)})`,
    )
    const [name = '', count] = rows[0] ?? []
    if (count !== '1') {
      return { code: '28000', message: `role "${user}" does not exist`, fatal: true }
    }
    if (database !== name) {
      const message = `database "${database}" does not exist; there is "${name}"`
      return { code: '3D000', message, fatal: true }
    }
    const encoding = settings.client_encoding?.toLowerCase().replace(/[^a-z0-9]/g, '') ?? 'utf8'
    if (ENCODINGS.has(encoding)) return null
    return { code: '22023', message: 'client_encoding must be UTF8', fatal: true }
  }

  /** The session is `session`'s from now on. Returns why not all of it could be restored, or null. */
  enter(session: ClientSession): Failure | null {
    this.#current = session
    const { user, settings, prepared } = session
    const wanted = stateOf(user, settings, prepared)
    if (wanted === this.#state) return null
    this.#leave()
    let failed: Failure | null = null
    const ask = (sql: string): void => {
      const { error } = this.#ask(sql)
      if (error !== null) failed = { code: error, message: `refused: ${sql}`, fatal: true }
    }
    for (const [name, value] of Object.entries(settings)) {
      if (name === 'client_encoding' || name === 'role') continue
      ask(`SELECT pg_catalog.set_config(${quoted(name)}, ${quoted(value)}, false)`)
    }
    if (user !== '' && user !== this.#superuser) ask(`SET SESSION AUTHORIZATION ${quoted(user)}`)
    if (settings.role !== undefined) ask(`SET ROLE ${quoted(settings.role)}`)
    for (const text of Object.values(prepared)) ask(text)
    this.#prepared = Object.keys(prepared)
    this.#state = wanted
    return failed
  }

  #leave(): void {
    if (this.#state === stateOf('', {}, {})) return
    const drops = this.#prepared.map((name) => `DEALLOCATE ${identifier(name)};`)
    for (const drop of drops) this.#ask(drop)
    this.#ask('RESET SESSION AUTHORIZATION')
    this.#ask('RESET ROLE')
    this.#ask('RESET ALL')
    this.#prepared = []
    this.#state = stateOf('', {}, {})
  }

  /** What is to be remembered of the client from now on, or null when it is what it was. Outside of a transaction. */
  changed(session: ClientSession): SessionMemory | null {
    if (session.dirty) this.#gather(session)
    if (!session.changed) return null
    session.changed = false
    if (hasRoom(session.memory)) return session.memory
    throw new RangeError('more is set and prepared than can be remembered for a client')
  }

  #gather(session: ClientSession): void {
    session.dirty = false
    const settings = this.#ask(
      `SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'
       UNION ALL SELECT 'role', pg_catalog.current_setting('role') WHERE pg_catalog.current_setting('role') <> 'none'`,
    ).rows
    const prepared = this.#ask(
      'SELECT name, statement FROM pg_catalog.pg_prepared_statements WHERE from_sql',
    ).rows
    const user = this.#ask('SELECT session_user').rows[0]?.[0]
    const pairs = (rows: readonly (readonly (string | null)[])[]): Record<string, string> =>
      Object.fromEntries(rows.map(([name, value]) => [name ?? '', value ?? '']))
    session.settings = pairs(settings)
    session.prepared = pairs(
      prepared.filter(([, text]) => /^\s*PREPARE\s[^;]*;?\s*$/i.test(text ?? '')),
    )
    session.user = user ?? session.user
    this.#prepared = Object.keys(session.prepared)
    this.#state = stateOf(session.user, session.settings, session.prepared)
    session.changed = true
  }
}

function stateOf(
  user: string,
  settings: Readonly<Record<string, string>>,
  prepared: Readonly<Record<string, string>>,
): string {
  return JSON.stringify([user, settings, prepared])
}

function quoted(value: string): string {
  return `E'${value.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
}

function identifier(name: string): string {
  return `"${name.replace(/"/g, '""')}"`
}
