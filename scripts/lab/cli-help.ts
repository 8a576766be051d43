/** What `understudy lab --help` and `understudy lab VERB --help` print. */

export const LAB_HELP = `Usage: understudy lab VERB [options]

A lab is a few nodes on the TAPs of one bridge that share a virtual address, and a client beside them, all in network
namespaces of their own. It stays up when the command returns.

  up       build a lab and start its nodes
  exec     run a command in the client's namespace
  kill     kill a node, or whichever owns the address, with SIGKILL
  stop     freeze a node with SIGSTOP
  cont     let a frozen node go on
  start    start a node that was killed
  switchover
           hand the address over to the next node, with every connection
  status   show the nodes, who owns the address, and what was counted on the client's wire
  down     end the lab and remove everything it made

  understudy lab up --nodes 3 --app http --root ./files
  understudy lab exec client -- curl -o copy.bin --limit-rate 20M http://10.77.0.100/big.bin &
  understudy lab kill owner
  understudy lab status
  understudy lab down

With several labs, --lab ID chooses; without it the most recent one is meant.
Exit codes: 0 done, 1 failed (one line on stderr with a code and what to do), 2 wrong usage; \`lab exec\` ends with
the exit code of its command.`

const LAB_OPTION = '  --lab ID       which lab (default: the most recent one)'
const JSON_OPTION = '  --json         print one line of JSON instead of text'

export const VERB_HELP: Readonly<Record<string, string>> = {
  up: `Usage: understudy lab up [options]

  --nodes N      how many nodes (default 3)
  --clients N    how many clients; they are called client, client2, ... (default 1)
  --routers N    1 or 2 routers between the clients, who are 10.78.0.9, 10.78.0.10, ... then, and the nodes (default: none)
  --app NAME     http: GET and PUT of files on port 80; chat: for browsers, port 80; kv: commands of Redis on port 6379;
                 nfs: NFS 3 and 4.0, and MOUNT, on port 2049; sql: PostgreSQL on port 5432; echo: port 7; ticker: port 13;
                 proxy: leads to the server of --to (default http)
  --to HOST:PORT the server behind --app proxy: one of the lab's clients, such as 10.77.0.10:5432 with --clients 2
  --ipv6         the virtual address is fd77::100 and not 10.77.0.100, and the clients are fd77::9, fd77::10, ...
  --root DIR     the folder that http and nfs serve and store to, or that sql has its data in (default: one that goes with
                 the lab)
  --record DIR   each node writes what its link carries to DIR/nodeN.pcapng, with a comment at each change of owner
  --fence HOW    what a successor does to the old owner first: port, kill or none (default port)
  --offload, --no-offload
                 whether the nodes leave checksums and the cutting of segments to the kernel (default: they do)
  --lab ID       a name of four small letters or digits (default: a fresh one)
${JSON_OPTION}
  --program CMD  run CMD --config FILE in place of the node program

  understudy lab up --nodes 3 --app http --root ./files --json
  understudy lab up --nodes 2 --app echo --fence kill`,
  exec: `Usage: understudy lab exec [--lab ID] client|client2|...|router|router2|switch -- CMD [ARG...]

Runs CMD in a namespace of the lab with your own input, output and working folder. Ends with CMD's exit code.

  understudy lab exec client -- curl -s http://10.77.0.100/
  understudy lab exec client -- bash
  understudy lab exec switch -- bridge link
  understudy lab exec client -- ip route replace 10.77.0.0/24 via 10.78.0.2     # by the other router of --routers 2`,
  kill: `Usage: understudy lab kill owner|N [--lab ID] [--json]

Kills a node with SIGKILL and returns when it is gone.

${LAB_OPTION}
${JSON_OPTION}

  understudy lab kill owner
  understudy lab kill 2`,
  stop: `Usage: understudy lab stop owner|N [--lab ID] [--json]

Freezes a node with SIGSTOP: it keeps its memory and its TAP and does nothing. \`lab cont\` lets it go on.

${LAB_OPTION}
${JSON_OPTION}

  understudy lab stop owner`,
  cont: `Usage: understudy lab cont owner|N [--lab ID] [--json]

Lets a frozen node go on; "owner" means the one node that is frozen.

${LAB_OPTION}
${JSON_OPTION}

  understudy lab cont 1`,
  start: `Usage: understudy lab start N [--lab ID] [--json]

Starts a node that was killed and returns when it is ready.

${LAB_OPTION}
${JSON_OPTION}

  understudy lab start 1`,
  switchover: `Usage: understudy lab switchover owner|N [--lab ID] [--json]

Makes the owner give the address and all its connections to the next node, and returns when that node speaks. The one
that gave them stays as a standby. When the next node could not go on with every connection, nothing changes.

${LAB_OPTION}
${JSON_OPTION}

  understudy lab switchover owner`,
  status: `Usage: understudy lab status [--lab ID] [--json]

${LAB_OPTION}
${JSON_OPTION}

  understudy lab status --json`,
  down: `Usage: understudy lab down [--lab ID | --all]

Ends the lab's processes, also those that \`lab exec\` started, and removes its namespaces and files. It also clears
away what is left of labs that crashed.

${LAB_OPTION}
  --all          all labs that are up

  understudy lab down
  understudy lab down --all`,
}
