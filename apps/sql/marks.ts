/**
 * Marks: a transaction that writes leaves one when it is committed, in the transaction itself, with the answer that the client is to
 * have. So the next owner of the data can tell whether a statement that was under way has been carried out.
 */
import type { Batch } from './names.js'
import type { StatementKind } from './statements.js'
import { BodyReader, encode, encodeQuery, type Message, type TransactionStatus } from './wire.js'

/** Marks of clients that have been gone for so long are swept. */
const KEPT = '1 hour'

/** Makes what the marks need; the same again does no harm. */
export const SCHEMA = `
  SET client_min_messages = error;
  CREATE SCHEMA IF NOT EXISTS understudy;
  GRANT USAGE ON SCHEMA understudy TO public;
  CREATE TABLE IF NOT EXISTS understudy.mark (
    connection text, step integer, unit bigint NOT NULL, status text NOT NULL, answer bytea, at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection, step)
  );
  CREATE OR REPLACE FUNCTION understudy.leave_mark(text, integer, bigint, text, bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    AS $$INSERT INTO understudy.mark (connection, step, unit, status, answer) VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (connection, step) DO UPDATE
      SET unit = excluded.unit, status = excluded.status, answer = excluded.answer, at = excluded.at$$;
  CREATE OR REPLACE FUNCTION understudy.refuse(text) RETURNS void LANGUAGE plpgsql
    AS $$BEGIN RAISE EXCEPTION '%', $1 USING ERRCODE = '0A000'; END$$;
  DELETE FROM understudy.mark WHERE at < now() - interval '${KEPT}';
  RESET client_min_messages;
`

/** What a mark says. `answer` is null when it was too long to be kept, or could not be known before. */
export interface Mark {
  readonly status: TransactionStatus
  readonly answer: Uint8Array | null
}

/** Leaves a mark if the transaction has written anything. */
export function leaveMark(connection: string, unit: number, step: number, mark: Mark): Buffer {
  const { status, answer } = mark
  const octets =
    answer === null ? 'NULL' : `pg_catalog.decode('${Buffer.from(answer).toString('hex')}', 'hex')`
  return encodeQuery(
    `SELECT CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL
     THEN understudy.leave_mark('${connection}', ${step}, ${unit}, '${status}', ${octets}) END`,
  )
}

/** Asks for the marks of a unit. */
export function askMarks(connection: string, unit: number): Buffer {
  return encodeQuery(
    `SELECT step, status, pg_catalog.encode(answer, 'hex') FROM understudy.mark WHERE connection = '${connection}' AND unit = ${unit}`,
  )
}

export function dropMarks(connection: string): Buffer {
  return encodeQuery(`DELETE FROM understudy.mark WHERE connection = '${connection}'`)
}

/** The marks in the rows that `askMarks` brings, by step. */
export function readMarks(rows: readonly (readonly (string | null)[])[]): Map<number, Mark> {
  return new Map(
    rows.map(([step, status, answer]) => [
      Number(step),
      {
        status: status as TransactionStatus,
        answer: answer == null ? null : Buffer.from(answer, 'hex'),
      },
    ]),
  )
}

/** What the database will say to COMMIT in a simple query. */
export const COMMITTED: Uint8Array = encode('C', 'COMMIT')

/**
 * What the database will say to messages that carry out COMMIT and nothing else, or null when that cannot be known. The mark
 * goes into the transaction, so before.
 */
export function answerToCommit(messages: readonly Message[], { kinds }: Batch): Uint8Array | null {
  if (kinds.length !== 1 || kinds[0] !== 'commit') return null
  const answers: Uint8Array[] = []
  for (const { kind, body } of messages) {
    if (kind === 'P') answers.push(encode('1'))
    else if (kind === 'B') answers.push(encode('2'))
    else if (kind === 'C') answers.push(encode('3'))
    else if (kind === 'E') answers.push(COMMITTED)
    else if (kind === 'D') {
      if (new BodyReader(body).octet() === 'S') answers.push(encode('t', Buffer.alloc(2)))
      answers.push(encode('n'))
    }
  }
  return Buffer.concat(answers)
}

/** What COMMIT leaves: idle, or with AND CHAIN the next transaction. */
export function statusBehindCommit(text: string): TransactionStatus {
  return /\bAND\s+CHAIN\b/i.test(text) ? 'T' : 'I'
}

/** Whether any of `kinds` begins or ends a transaction, or must be outside of one. */
export function controlsTransactions(kinds: readonly StatementKind[]): boolean {
  return kinds.some((kind) => ['begin', 'commit', 'rollback', 'bare'].includes(kind))
}
