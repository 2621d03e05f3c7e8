// Dials one node as a stranger's libp2p would: TCP, Noise, Yamux; then identify and three pings.
import { readFileSync } from 'node:fs'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const PINGS = 3
const soon = () => ({ signal: AbortSignal.timeout(10_000) })
const address = multiaddr(process.argv[2])
const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify({ runOnConnectionOpen: false }), ping: ping() },
})
try {
  const connection = await node.dial(address, soon())
  const seen = await node.services.identify.identify(connection, soon())
  if (!process.argv[2].endsWith(seen.peerId.toString())) throw new Error(`identified as ${seen.peerId}`)
  for (const protocol of ['/ipfs/id/1.0.0', '/ipfs/ping/1.0.0']) {
    if (!seen.protocols.includes(protocol)) throw new Error(`${protocol} is not offered`)
  }
  const took = []
  for (let count = 0; count < PINGS; count++) took.push(await node.services.ping.ping(connection.remotePeer, soon()))
  const { version } = JSON.parse(readFileSync('node_modules/libp2p/package.json', 'utf8'))
  console.log(`js-libp2p ${version} on node ${process.versions.node}, with ${seen.agentVersion}:`)
  console.log(`identify answered: ${seen.protocols.join(' ')}`)
  console.log(`ping answered ${PINGS} times, in ms: ${took.join(' ')}`)
} finally {
  await node.stop()
}
