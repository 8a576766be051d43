/** A command line that means nothing; the command ends with 2 and its message is the one line that the user gets. */
export class UsageError extends Error {}
