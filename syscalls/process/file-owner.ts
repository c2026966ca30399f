import type { FileOwner } from "../files/signal-driven.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { SignalInfo } from "../signals/info.ts";
import { maySignal } from "./credentials.ts";

/**
 * Whom a file's signals go to (Linux: fs/fcntl.c, f_setown and send_sigio).
 * @param setter whose rights count when a signal is sent
 * @returns undefined if there is no such thread, process or group
 */
export function fileOwner(setter: LinuxProcess, kind: FileOwner["kind"], id: number): FileOwner | undefined {
  const { kernel } = setter;
  const members = (): LinuxProcess[] => {
    if (kind === "group") return [...kernel.group(id)];
    const found = kind === "thread" ? kernel.threads.get(id)?.process : kernel.processOf(id);
    return found === undefined ? [] : [found];
  };
  if (members().length === 0) return undefined;
  const send = (info: SignalInfo): boolean => {
    let sent = true;
    for (const each of members()) {
      if (each.finished || !maySignal(setter, each, info.signal)) continue;
      const thread = kind === "thread" ? kernel.threads.get(id) : undefined;
      const queued = thread === undefined ? each.receive(info) : each.signals.sendToThread(thread, info);
      sent &&= queued;
    }
    return sent;
  };
  return { kind, id, send };
}
