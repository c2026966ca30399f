import type { Process } from "../process.ts";
import { connectionCount } from "./socket-files.ts";

/** A protocol's counters: a line of names and a line of values. Those that are not named in `values` are 0. */
function counters(protocol: string, names: string, values: Readonly<Record<string, number>> = {}): string {
  const numbers = names.split(" ").map((name) => values[name] ?? 0);
  return `${protocol}: ${names}\n${protocol}: ${numbers.join(" ")}\n`;
}

const IP = [
  "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers",
  "OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
].join(" ");
const ICMP = [
  "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps",
  "InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost",
  "OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps",
  "OutTimestampReps OutAddrMasks OutAddrMaskReps",
].join(" ");
const TCP = [
  "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs",
  "RetransSegs InErrs OutRsts InCsumErrors",
].join(" ");
const UDP = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors";

/**
 * /proc/net/snmp (net/ipv4/proc.c, snmp_seq_show). The machine sends no packets, so that what counts them is 0: settings
 * and the open connections are true.
 */
export function snmpText(process: Process): string {
  return [
    // Not a router; times in ms; as many connections as there is room for.
    counters("Ip", IP, { Forwarding: 2, DefaultTTL: 64 }),
    counters("Icmp", ICMP),
    counters("Tcp", TCP, {
      RtoAlgorithm: 1,
      RtoMin: 200,
      RtoMax: 120_000,
      MaxConn: -1,
      CurrEstab: connectionCount(process),
    }),
    counters("Udp", UDP),
    counters("UdpLite", UDP),
  ].join("");
}

const TCP_EXTENSIONS = [
  "SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps",
  "LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab DelayedACKs DelayedACKLocked DelayedACKLost",
  "ListenOverflows ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery TCPSackRecovery TCPTimeouts",
  "TCPRcvCollapsed TCPBacklogDrop TCPMemoryPressures TCPSynRetrans TCPOrigDataSent",
].join(" ");
const IP_EXTENSIONS = [
  "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets",
  "OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps",
].join(" ");

/** /proc/net/netstat (net/ipv4/proc.c, netstat_seq_show): counts of packets, of which the machine has none. */
export function statisticsText(): string {
  return counters("TcpExt", TCP_EXTENSIONS) + counters("IpExt", IP_EXTENSIONS);
}

/** /proc/net/softnet_stat (net/core/net-procfs.c, softnet_seq_show): a line for each CPU, whose number is last. */
export function softnetText(process: Process): string {
  const zeros = `${"0".repeat(8)} `.repeat(12);
  return Array.from({ length: process.cpus }, (_, cpu) => `${zeros}${cpu.toString(16).padStart(8, "0")}\n`).join("");
}
