/**
 * The JSON Schema (2020-12) of a node's configuration, for editors and for those who generate configurations: `understudy node
 * --schema` prints it. What binds is `readNodeConfig`, which also checks what a schema cannot say.
 */
import { DEFAULT_TIMING } from '../node.js'
import { MAX_BINDINGS, MAX_PEERS } from '../peers.js'
import { MAX_ROUTERS } from './router-config.js'

const TIMING_MEANS: Readonly<Record<keyof typeof DEFAULT_TIMING, string>> = {
  bootMs: 'How long a node listens after its start before it may claim a binding.',
  renewMs: 'Between two renewals of a declaration.',
  leaseMs: 'A node that was stopped for so long has lost its lease. At most silenceMs.',
  turnLeaseMs: 'The same for a stuck event loop. At most stuckMs.',
  silenceMs: 'After so long without a sign of life a peer is suspected.',
  stuckMs: 'A peer whose event loop is stuck for so long is given up.',
  patienceMs: 'How long the next in line waits for the one before it.',
}

const port = (description: string, minimum = 1) => ({
  type: 'integer',
  minimum,
  maximum: 65_535,
  description,
})
const text = (description: string, example: string) => ({
  type: 'string',
  minLength: 1,
  description,
  examples: [example],
})
const milliseconds = (description: string, minimum: number) => ({
  type: 'integer',
  minimum,
  maximum: 2 ** 31 - 1,
  description,
})
const section = (description: string, properties: object, required: readonly string[] = []) => ({
  type: 'object',
  description,
  properties,
  required,
  additionalProperties: false,
})

const NODE_IDS = {
  type: 'array',
  minItems: 1,
  uniqueItems: true,
  items: { type: 'integer', minimum: 1, maximum: 0xffff_ffff },
}

const POLICY = {
  description: 'Who takes the binding over: the same on each node.',
  default: 'smallest-id',
  anyOf: [
    text('smallest-id, election, spread, or one that the program has named.', 'election'),
    section('The first of a list that is up.', { ordered: NODE_IDS }, ['ordered']),
    section(
      'A node that decides, beforehand.',
      {
        master: NODE_IDS.items,
        by: text('The policy by which it decides. Default: election.', 'spread'),
      },
      ['master'],
    ),
  ],
}

const PEERS = {
  type: 'integer',
  minimum: 1,
  maximum: MAX_PEERS,
  description: 'So many peers must have what is acknowledged.',
}

const STRICT = {
  description:
    'Strict mode: input is acknowledged when so many peers have it, and every other one that is in line. Default: no acknowledgement waits for a peer.',
  anyOf: [
    PEERS,
    section(
      'The same, and what happens with fewer peers.',
      {
        peers: PEERS,
        alone: {
          enum: ['hold', 'go-on'],
          default: 'hold',
          description:
            'With fewer peers nothing is acknowledged, or the owner goes on with those that are there, and reports it.',
        },
      },
      ['peers'],
    ),
  ],
}

const BINDING = section(
  'A virtual address and the ports that move with it.',
  {
    id: {
      type: 'integer',
      minimum: 1,
      maximum: 65_535,
      description: 'Names the binding; the same on each node. Default: its place in the list.',
    },
    address: text('The address with the length of its prefix.', '10.77.0.100/24'),
    ports: {
      type: ['string', 'integer'],
      description: 'One port, or a range.',
      default: '1-65535',
      examples: [80, '8000-8099'],
    },
    policy: POLICY,
    set: {
      ...NODE_IDS,
      description:
        'The permanency set: the nodes that may own the binding; others ignore it. Default: all that have it in their configuration.',
    },
    doubtful: {
      enum: ['deliver', 'drop'],
      default: 'deliver',
      description:
        'Input that the client was told had arrived, and of which nobody knows whether the application read it: delivered again, or dropped.',
    },
    recovery: {
      enum: ['stay', 'return'],
      default: 'stay',
      description:
        'When the node that the policy prefers is back: the binding stays with its owner, or returns, but for the connections that are active.',
    },
    strict: STRICT,
    arp: {
      type: 'boolean',
      default: false,
      description:
        'Where several bindings share one address: whoever owns this one answers ARP for it. Default: the first of them.',
    },
    mac: text(
      'The Ethernet address that neighbours are told of: a virtual one that moves with the address, or that of a group, which switches pass on to all nodes; the same on each node. Default: that of the owner.',
      '03:00:5e:00:01:64',
    ),
    routersMac: text(
      'With "mac": a group whose frames the nodes and the routers take. All that leaves from the address is sent to it, so that switches pass it on to all nodes. Default: it is sent to the router, or to the client.',
      '03:00:5e:00:01:65',
    ),
    quorum: {
      oneOf: [{ const: 'majority' }, { type: 'integer', minimum: 2 }],
      description:
        'How many nodes of the set, itself counted, a node must hear to own the binding: of a cluster that is cut apart one side serves at most. Needs "set" with three nodes or more. Default: none.',
    },
  },
  ['address'],
)

const APP = section(
  'The application that the node runs.',
  {
    name: text('http, chat, echo, kv, nfs, proxy, sql or ticker.', 'http'),
    port: port('Where it listens, on the virtual address.'),
    root: text(
      'http, nfs: the folder that is served; sql: that of the data, which all nodes share.',
      'www',
    ),
    to: text('proxy: where clients are led.', '10.77.0.50:5432'),
    maxConnections: { type: 'integer', minimum: 1, description: 'proxy: clients at once.' },
    connectMs: milliseconds('proxy: how long the server may take to answer.', 1),
    idleMs: milliseconds('proxy: how long nothing may go by; 0: for ever.', 0),
    proxyProtocol: {
      enum: ['v1', 'v2'],
      description:
        'proxy: the version of the PROXY header that tells the server who the client is. Default: none is sent.',
    },
  },
  ['name', 'port'],
)

const OPERATOR = section('Where the page, the status and the metrics are served.', {
  host: { ...text('An address of this host.', '127.0.0.1'), default: '127.0.0.1' },
  port: port('0: any free one.', 0),
  socket: text('Instead of host and port: the path of a Unix socket.', 'operator.sock'),
})

const TIMING = section(
  'In milliseconds.',
  Object.fromEntries(
    Object.entries(DEFAULT_TIMING).map(([name, value]) => [
      name,
      {
        type: 'number',
        exclusiveMinimum: 0,
        maximum: 3_600_000,
        default: value,
        description: TIMING_MEANS[name as keyof typeof TIMING_MEANS],
      },
    ]),
  ),
)

/** The schema: an object that can be printed as JSON. */
export const NODE_CONFIG_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Configuration of a node of Understudy',
  ...section(
    'Paths are relative to the file.',
    {
      id: {
        type: 'integer',
        minimum: 1,
        maximum: 0xffff_ffff,
        description:
          'Cluster-node id, different on each node. By default the smallest that is up owns.',
      },
      cluster: text('Name of the cluster: keeps several on one link apart.', 'main'),
      keyFile: text('File with the key that all nodes share.', 'cluster.key'),
      tap: text('TAP device to attach to.', 'us0'),
      mac: text(
        'Ethernet address of the stack. Default: from that of the device.',
        '02:00:00:00:00:0a',
      ),
      offload: {
        type: 'boolean',
        default: true,
        description: 'The device completes checksums and cuts super-frames.',
      },
      routers: {
        type: 'array',
        items: { type: 'string', minLength: 1 },
        minItems: 1,
        maxItems: MAX_ROUTERS,
        uniqueItems: true,
        description:
          'Routers on the link that lead to clients beyond it: the first that answers is sent to; clients may come through any of them. Default: none, all clients are on the link.',
        examples: [['10.77.0.1', '10.77.0.2']],
      },
      macFilter: {
        type: 'boolean',
        default: false,
        description:
          'Frames to other stations than the nodes and the routers are left unread. Only where all clients, and all servers behind a proxy, are beyond routers.',
      },
      binding: BINDING,
      bindings: { type: 'array', minItems: 1, maxItems: MAX_BINDINGS, items: BINDING },
      control: section('The control channel between nodes.', {
        host: {
          ...text('An address of this host that peers reach.', '192.0.2.1'),
          default: '127.0.0.1',
        },
      }),
      storeDir: text("Folder of this node's mirror.", 'mirror'),
      sharedDir: text('Folder of the checkpoints, which all nodes share.', 'shared'),
      app: APP,
      fence: {
        enum: ['port', 'kill', 'none'],
        default: 'port',
        description: 'How a peer on this host is silenced before its address is taken.',
      },
      fenceCommand: {
        type: 'array',
        items: { type: 'string', minLength: 1 },
        minItems: 1,
        description:
          'The program, with its arguments, that silences a peer on another host; {node} becomes its id. It must end with 0 within five seconds, and then, and only then, the peer must be silent. Without one, or when it fails, the lease of that peer must run out.',
        examples: [['/usr/local/sbin/fence-node', '{node}']],
      },
      hub: {
        enum: ['checked', 'unchecked'],
        default: 'checked',
        description: 'Whether the node makes sure that the bridge of its TAP works as a hub.',
      },
      record: text(
        'File to which all that the link carries is written, in pcapng.',
        'node1.pcapng',
      ),
      operator: OPERATOR,
      timing: TIMING,
    },
    ['id', 'cluster', 'keyFile', 'tap', 'storeDir', 'sharedDir'],
  ),
  oneOf: [{ required: ['binding'] }, { required: ['bindings'] }],
} as const
