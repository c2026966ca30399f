import { SI_KERNEL, SIGNAL, TRAP_BRKPT, TRAP_TRACE } from "../../syscalls/abi/signals.ts";
import { textToPath } from "../../syscalls/files/path.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import { encodeSigInfo, type SignalInfo } from "../../syscalls/signals/info.ts";
import type { Debugger } from "../debugger/debugger.ts";
import type { StopEvent } from "../debugger/events.ts";
import { prefixed } from "./encoding.ts";
import { bytesOf, escapeBinary, PACKET_SIZE } from "./packets.ts";
import { TARGET_XML } from "./target-xml.ts";
import type { DebugThread, ThreadModel } from "./threads.ts";

const E_FAULT = "E0e";
const E_ANNEX = "E00";
const UNSUPPORTED = "";

/** What a session knows that transfers ask about. */
export interface TransferView {
  readonly debug: Debugger;
  readonly threads: ThreadModel;
  /** The thread that the client has chosen. */
  readonly current: DebugThread | undefined;
  /** A thread id as the client writes it. */
  readonly id: (id: number) => string;
}

/** The reply to `qXfer:` and object:read:annex:offset,length (gdb manual, "qXfer"). */
export function transfer(text: string, view: TransferView): string | Uint8Array {
  const match = /^([a-z-]+):read:([^:]*):([0-9a-f]{1,12}),([0-9a-f]{1,12})$/i.exec(text);
  if (match === null) return UNSUPPORTED;
  const bytes = objectBytes(match[1], match[2], view);
  if (bytes === undefined) return UNSUPPORTED;
  if (typeof bytes === "string") return bytes;
  const offset = Number.parseInt(match[3], 16);
  const length = Math.min(Number.parseInt(match[4], 16), PACKET_SIZE / 2 - 16);
  const piece = bytes.subarray(offset, offset + length);
  return prefixed(offset + piece.length >= bytes.length ? "l" : "m", escapeBinary(piece));
}

/** The object's bytes, an error reply, or undefined if it is not offered. */
function objectBytes(name: string, annex: string, view: TransferView): Uint8Array | string | undefined {
  const { process } = view.debug;
  switch (name) {
    case "features":
      return annex === "target.xml" ? utf8.encode(TARGET_XML) : E_ANNEX;
    case "auxv":
      return process.auxv;
    case "exec-file":
      return bytesOf(textToPath(process.exePath));
    case "threads":
      return utf8.encode(threadsXml(view));
    case "siginfo":
      return sigInfo(view);
    default:
      return undefined;
  }
}

function threadsXml({ threads, id }: TransferView): string {
  const rows = threads.list().map((thread) => {
    return `<thread id="${id(thread.id)}" name="${xml(thread.name)}">${xml(thread.description)}</thread>`;
  });
  return `<threads>${rows.join("")}</threads>`;
}

function sigInfo({ debug, threads, current }: TransferView): Uint8Array | string {
  const event = debug.lastEvent;
  if (event === undefined || current === undefined || !("thread" in event)) return E_FAULT;
  if (threads.of(event.thread).id !== current.id) return E_FAULT;
  return encodeSigInfo(sigInfoOf(event, event.thread));
}

/** The siginfo_t that ptrace(2) would show for a stop. */
function sigInfoOf(event: StopEvent, thread: LinuxThread): SignalInfo {
  const address = thread.cpu.rip64;
  if (event.kind === "signal") return event.info;
  if (event.kind === "interrupt") return { signal: SIGNAL.SIGINT, code: SI_KERNEL };
  return { signal: SIGNAL.SIGTRAP, code: event.kind === "breakpoint" ? TRAP_BRKPT : TRAP_TRACE, address };
}

const utf8 = new TextEncoder();

const ENTITIES: Record<string, string> = { "<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "'": "&apos;" };
const xml = (text: string): string => text.replace(/[<>&"']/g, (c) => ENTITIES[c]);
