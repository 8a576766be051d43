/**
 * What a procedure of NFS can end with: the numbers of RFC 1813 §2.6, which RFC 7530 §13 has kept and added to.
 */

export const Status = {
  OK: 0,
  PERM: 1,
  NOENT: 2,
  IO: 5,
  NXIO: 6,
  ACCES: 13,
  EXIST: 17,
  XDEV: 18,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  FBIG: 27,
  NOSPC: 28,
  ROFS: 30,
  MLINK: 31,
  NAMETOOLONG: 63,
  NOTEMPTY: 66,
  DQUOT: 69,
  STALE: 70,
  BADHANDLE: 10001,
  NOT_SYNC: 10002,
  BAD_COOKIE: 10003,
  NOTSUPP: 10004,
  TOOSMALL: 10005,
  SERVERFAULT: 10006,
  BADTYPE: 10007,
  SAME: 10009,
  SHARE_DENIED: 10015,
  RESOURCE: 10018,
  NOFILEHANDLE: 10020,
  MINOR_VERS_MISMATCH: 10021,
  STALE_CLIENTID: 10022,
  STALE_STATEID: 10023,
  OLD_STATEID: 10024,
  BAD_STATEID: 10025,
  BAD_SEQID: 10026,
  NOT_SAME: 10027,
  SYMLINK: 10029,
  RESTOREFH: 10030,
  ATTRNOTSUPP: 10032,
  NO_GRACE: 10033,
  BADXDR: 10036,
  OPENMODE: 10038,
  BADOWNER: 10039,
  BADNAME: 10041,
  OP_ILLEGAL: 10044,
} as const

/** A procedure fails with `status`. */
export class NfsError extends Error {
  readonly status: number

  constructor(status: number) {
    super(`NFS status ${status}`)
    this.status = status
  }
}

const OF_ERRNO: Readonly<Record<string, number>> = {
  EPERM: Status.PERM,
  ENOENT: Status.NOENT,
  ENXIO: Status.NXIO,
  EACCES: Status.ACCES,
  EEXIST: Status.EXIST,
  EXDEV: Status.XDEV,
  ENOTDIR: Status.NOTDIR,
  EISDIR: Status.ISDIR,
  EINVAL: Status.INVAL,
  EFBIG: Status.FBIG,
  ENOSPC: Status.NOSPC,
  EROFS: Status.ROFS,
  EMLINK: Status.MLINK,
  ENAMETOOLONG: Status.NAMETOOLONG,
  ENOTEMPTY: Status.NOTEMPTY,
  EDQUOT: Status.DQUOT,
  ESTALE: Status.STALE,
  ELOOP: Status.INVAL,
  EOPNOTSUPP: Status.NOTSUPP,
  ENOTSUP: Status.NOTSUPP,
}

/** The status that tells a client of `error`, when it is one of the file system. Throws any other error. */
export function statusOf(error: unknown): number {
  if (error instanceof NfsError) return error.status
  const { code, syscall } = error as NodeJS.ErrnoException
  if (syscall === undefined || code === undefined) throw error
  return OF_ERRNO[code] ?? Status.IO
}
