/** What `understudy node --help` and `understudy record --help` print. */

export const NODE_HELP = `Usage: understudy node --config FILE [--check]
       understudy node --schema

Runs one node of a cluster: it attaches to a TAP device, listens to its peers, and owns the virtual address when it is its
turn. Events are printed as JSON lines. SIGTERM makes it leave in good order;
SIGUSR2 makes it give what it owns, with all connections, to the next node, and stay.

  --config FILE   the configuration, JSON
  --check         say whether the configuration is right, and run nothing
  --schema        print the JSON Schema of configurations, for editors

  understudy node --config /etc/understudy/node.json --check
  understudy node --config /etc/understudy/node.json

Exit codes: 0 left in good order, 1 failed (one line on stderr with a code and what to do), 2 wrong usage.`

export const RECORD_HELP = `Usage: understudy record --config FILE --out FILE

Runs a node as \`understudy node\` does, and writes all that its link carries to a file in pcapng, with a comment at each change of
owner. Checksums that are left to the device are completed in the file; it ends with the last frames also when the node is killed.
The same is had by "record" in the configuration, and by \`understudy lab up --record DIR\`.

  --config FILE   the configuration, JSON
  --out FILE      the file; when it is there already, another section is added to it

  understudy record --config /etc/understudy/node.json --out node1.pcapng
  tshark -r node1.pcapng -Y frame.comment -T fields -e frame.time -e frame.comment

Exit codes: 0 left in good order, 1 failed (one line on stderr with a code and what to do), 2 wrong usage.`
