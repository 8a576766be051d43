/**
 * What NFSv4.0 remembers of clients (RFC 7530 §9.1): who they are, their open-owners and the files that those have open. All of it
 * lies in the store, and so a take-over is no restart of the server: every stateid stays valid, there is no grace period and
 * nothing to reclaim.
 *
 * A client that was not heard for a lease keeps what it has until another one needs the room or a conflicting share.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { DataStore } from '../data-store.js'
import { BoundedTable } from './bounded-table.js'
import type { HandleKey } from './handles.js'
import { NfsError, Status } from './status.js'

/** For how long a client may be silent. */
export const LEASE_SECONDS = 90
/** A client's word is stored no more often. */
const HEARD_EVERY_MS = 10_000
const MAX_CLIENTS = 1024
const MAX_OWNERS = 16_384
const MAX_OPENS = 65_536
/** Opens that are remembered behind their end. */
const MAX_CLOSED = 1024
/** Opens of one file. */
const MAX_SHARES = 1024

/** A client as it has introduced itself, by SETCLIENTID. */
interface Introduced {
  readonly id: string
  readonly verifier: string
  readonly confirm: string
}

/** What is known under the name that a client gives itself. */
interface Named {
  readonly confirmed: Introduced | null
  readonly pending: Introduced | null
}

interface Client {
  readonly name: string
  readonly heardAt: number
}

/** What an open-owner did last: seqids tell a request that comes again from the next. */
export interface Owner {
  readonly seqid: number
  readonly confirmed: boolean
  /** What was answered: a status, the body of the result in latin1, and the current handle behind it. */
  readonly last: { readonly status: number; readonly body: string; readonly key: HandleKey } | null
}

/** A file that an owner has open. */
export interface Open {
  /** Names it in stateids: twelve octets in hexadecimal. */
  readonly other: string
  readonly client: string
  readonly owner: string
  readonly key: HandleKey
  readonly access: number
  readonly deny: number
  readonly seqid: number
}

/** Names an open-owner. */
export interface OwnerName {
  readonly client: string
  readonly owner: string
}

/** A stateid of a client (RFC 7530 §9.1.4). */
export interface Stateid {
  readonly seqid: number
  readonly other: string
}

const ANONYMOUS = '0'.repeat(24)
const BYPASS = 'f'.repeat(24)

export class Nfs4State {
  readonly #names: BoundedTable<Named>
  readonly #clients: BoundedTable<Client>
  readonly #owners: BoundedTable<Owner>
  readonly #opens: BoundedTable<Open>
  // Whose the opens were that have been closed, so that a CLOSE that comes again is known.
  readonly #closed: BoundedTable<OwnerName>
  // By file, the names of its opens.
  readonly #shares: BoundedTable<readonly string[]>
  readonly #now: () => number

  constructor(store: DataStore, now: () => number) {
    const table = (name: string) => store.open(`nfs4-${name}`, 'json')
    this.#names = new BoundedTable(table('names'), MAX_CLIENTS)
    this.#clients = new BoundedTable(table('clients'), MAX_CLIENTS)
    this.#owners = new BoundedTable(table('owners'), MAX_OWNERS)
    this.#opens = new BoundedTable(table('opens'), MAX_OPENS)
    this.#closed = new BoundedTable(table('closed'), MAX_CLOSED)
    this.#shares = new BoundedTable(table('shares'), MAX_OPENS)
    this.#now = now
  }

  /** SETCLIENTID (RFC 7530 §16.33): an id, and what confirms it. */
  introduce(name: Uint8Array, verifier: string): { id: string; confirm: string } {
    if (this.#clients.size >= MAX_CLIENTS) this.#forgetSilent()
    const called = hashOf(name)
    const { confirmed = null } = this.#names.get(called) ?? {}
    // The same verifier: the client has not been restarted, and changes its callback only, of which there is no use here.
    const known = confirmed?.verifier === verifier && this.#clients.get(confirmed.id) !== undefined
    const id = known ? confirmed.id : randomBytes(8).toString('hex')
    const confirm = randomBytes(8).toString('hex')
    this.#names.put(called, { confirmed, pending: { id, verifier, confirm } })
    if (!known) this.#clients.put(id, { name: called, heardAt: this.#now() })
    return { id, confirm }
  }

  /** SETCLIENTID_CONFIRM (RFC 7530 §16.34). Throws STALE_CLIENTID. */
  confirm(id: string, confirm: string): void {
    const client = this.#clients.get(id)
    const named = client === undefined ? undefined : this.#names.get(client.name)
    if (client === undefined || named === undefined) throw new NfsError(Status.STALE_CLIENTID)
    const { confirmed, pending } = named
    if (pending?.id === id && pending.confirm === confirm) {
      // The client has been restarted: what it had before is nobody's.
      if (confirmed !== null && confirmed.id !== id) this.#clients.remove(confirmed.id)
      this.#names.put(client.name, { confirmed: pending, pending: null })
    } else if (confirmed?.id !== id || confirmed.confirm !== confirm) {
      throw new NfsError(Status.STALE_CLIENTID)
    }
  }

  /** The client is there (RENEW, and everything it does with its state). Throws STALE_CLIENTID. */
  heard(id: string): void {
    const client = this.#clients.get(id)
    const named = client === undefined ? undefined : this.#names.get(client.name)
    if (client === undefined || named?.confirmed?.id !== id) {
      throw new NfsError(Status.STALE_CLIENTID)
    }
    if (this.#now() - client.heardAt < HEARD_EVERY_MS) return
    this.#clients.put(id, { ...client, heardAt: this.#now() })
  }

  owner(client: string, owner: string): Owner | null {
    return this.#owners.get(`${client}/${owner}`) ?? null
  }

  putOwner(client: string, owner: string, value: Owner): void {
    this.#owners.put(`${client}/${owner}`, value)
  }

  /** An owner's name as it is kept. */
  static ownerName(octets: Uint8Array): string {
    return hashOf(octets)
  }

  /** Opens a file, or more of it when the owner has it open. Throws SHARE_DENIED, RESOURCE. */
  open(client: string, owner: string, key: HandleKey, access: number, deny: number): Open {
    const opens = this.#opensOf(key)
    const own = opens.find((each) => each.client === client && each.owner === owner)
    for (const other of opens) {
      if (other === own || ((other.deny & access) | (other.access & deny)) === 0) continue
      if (!this.#isSilent(other.client)) throw new NfsError(Status.SHARE_DENIED)
      this.close(other)
    }
    const open: Open =
      own === undefined
        ? { other: freshOther(), client, owner, key, access, deny, seqid: 1 }
        : {
            ...own,
            access: own.access | access,
            deny: own.deny | deny,
            seqid: nextSeqid(own.seqid),
          }
    const names = this.#opensOf(key).map((each) => each.other)
    if (own === undefined) {
      if (names.length >= MAX_SHARES) throw new NfsError(Status.RESOURCE)
      this.#shares.put(key, [...names, open.other])
    }
    this.putOpen(open)
    return open
  }

  putOpen(open: Open): void {
    this.#opens.put(open.other, open)
  }

  close({ other, key, client, owner }: Open): void {
    this.#opens.remove(other)
    this.#closed.put(other, { client, owner })
    const left = (this.#shares.get(key) ?? []).filter((name) => name !== other)
    if (left.length > 0) this.#shares.put(key, left)
    else this.#shares.remove(key)
  }

  /** Whose a stateid is or was. Throws BAD_STATEID. */
  ownerOf({ other }: Stateid): OwnerName {
    const found = this.#opens.get(other) ?? this.#closed.get(other)
    if (found === undefined) throw new NfsError(Status.BAD_STATEID)
    return { client: found.client, owner: found.owner }
  }

  /** What a stateid names. Throws BAD_STATEID, OLD_STATEID, STALE_CLIENTID. */
  find({ seqid, other }: Stateid): Open {
    const open = this.#opens.get(other)
    if (open === undefined) throw new NfsError(Status.BAD_STATEID)
    this.heard(open.client)
    if (seqid !== open.seqid) {
      throw new NfsError(seqid < open.seqid ? Status.OLD_STATEID : Status.BAD_STATEID)
    }
    return open
  }

  /** Checks that a stateid, which may be one of the two special ones, allows `access` to the file. Throws as `find`, and OPENMODE. */
  allow(stateid: Stateid, key: HandleKey, access: number): void {
    if (stateid.other === ANONYMOUS && stateid.seqid === 0) return
    if (stateid.other === BYPASS && stateid.seqid === 0xffff_ffff) return
    const open = this.find(stateid)
    if (open.key !== key) throw new NfsError(Status.BAD_STATEID)
    if ((open.access & access) !== access) throw new NfsError(Status.OPENMODE)
  }

  #opensOf(key: HandleKey): Open[] {
    const opens = (this.#shares.get(key) ?? []).map((other) => this.#opens.get(other))
    return opens.filter(
      (open) => open !== undefined && this.#clients.get(open.client) !== undefined,
    ) as Open[]
  }

  #isSilent(id: string): boolean {
    const client = this.#clients.get(id)
    return client === undefined || this.#now() - client.heardAt > LEASE_SECONDS * 1000
  }

  #forgetSilent(): void {
    const ids = [...this.#clients.keys()].filter((id) => this.#isSilent(id))
    for (const id of ids) this.#clients.remove(id)
  }
}

export function nextSeqid(seqid: number): number {
  return seqid === 0xffff_ffff ? 1 : seqid + 1
}

function freshOther(): string {
  return randomBytes(12).toString('hex')
}

function hashOf(octets: Uint8Array): string {
  return createHash('sha1').update(octets).digest('hex')
}
