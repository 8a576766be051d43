/** What `understudy node --help` and those of its kin print. */

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

export const PROXY_HELP = `Usage: understudy proxy --config FILE --listen ADDRESS:PORT --to HOST:PORT

Runs a node as \`understudy node\` does, whose application leads clients of ADDRESS:PORT to a server that knows nothing of it. When the
node dies a peer goes on with both connections of each client, from the wire alone. Start it on each node of the cluster.

  --config FILE          the configuration, JSON; its binding holds ADDRESS, and "app" is not needed
  --listen ADDRESS:PORT  a virtual address of the node, and the port for clients
  --to HOST:PORT         the server, on the nodes' link

  understudy proxy --config /etc/understudy/node.json --listen 10.77.0.100:5432 --to 10.77.0.50:5432

Limits and time-outs are set by "app" in the configuration: maxConnections, connectMs, idleMs;
"proxyProtocol": "v1" or "v2" there tells the server who each client is.
Exit codes: 0 left in good order, 1 failed (one line on stderr with a code and what to do), 2 wrong usage.`
