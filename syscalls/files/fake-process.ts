import { WASM_PAGES } from "../../emu/layout.ts";
import { AddressSpace } from "../../emu/memory/address-space.ts";
import { GuestFault, GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Host } from "../../host/host.ts";
import type { HostJob } from "../../host/terminal.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import { Network } from "../net/network.ts";
import { NETWORK_SYSCALLS } from "../net/syscalls.ts";
import { Credentials } from "../process/credentials.ts";
import { Limits } from "../process/limits.ts";
import type { Process, TerminalUse } from "../process.ts";
import type { SyscallRow } from "../table.ts";
import type { Thread } from "../thread.ts";
import { Ptys } from "../tty/ptys.ts";
import { FileState } from "./file-state.ts";
import { FILE_SYSCALLS } from "./index.ts";
import { pathToBytes } from "./path.ts";
import type { FileOwner } from "./signal-driven.ts";

/** Guest memory that tests share: 4 GiB of address space is made once for each test file. */
const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });

const rows = new Map<string, SyscallRow>([...FILE_SYSCALLS, ...NETWORK_SYSCALLS].map((row) => [row.name, row]));

/** A process without a CPU, for tests of system calls. Scratch memory lies at `scratch`, an unmapped page behind it. */
export class FakeProcess implements Process {
  readonly memory: GuestMemory;
  readonly limits = new Limits();
  readonly files: FileState;
  readonly host: Host;
  readonly pid = 4242;
  readonly ppid = 1;
  readonly uid = 1000;
  readonly gid = 1000;
  readonly euid = 1000;
  readonly egid = 1000;
  readonly credentials = new Credentials(this);
  exePath = "/bin/guest";
  readonly argv = [pathToBytes("guest"), pathToBytes("-x")];
  readonly envp = [pathToBytes("HOME=/root")];
  readonly auxv = new Uint8Array(16);
  readonly cpus = 2;
  readonly state = "R";
  readonly cpuDescription = { vendor: "GenuineIntel", brand: "Test CPU", flags: ["fpu", "sse2"] };
  readonly thread: Thread = { tid: 4242, name: "guest", signalMask: 0n, savedMask: undefined };
  readonly threads: Thread[] = [this.thread];
  readonly clock: { monotonicNs(): number; realtimeNs(): bigint };
  readonly signals: number[] = [];
  cpuTime = 0;
  startNs = 0;
  /** First of 16 mapped pages. */
  readonly scratch: number;
  readonly network: Network;
  readonly ptys: Ptys;
  readonly jobControl: TerminalUse = {
    mayUse: () => true,
    setForeground: () => {},
    opened: () => {},
    take: () => {},
    leave: () => {},
  };
  wakeUps = 0;
  #next: number;

  constructor(host: Host) {
    this.memory = new GuestMemory(new AddressSpace(memory));
    this.scratch = this.memory.space.map({ address: 0x20_0000, length: 0x1_0000, prot: 3, fixed: true });
    this.#next = this.scratch;
    this.host = host;
    this.ptys = new Ptys({
      ...this.jobControl,
      signalGroup: (_group, signal) => this.signals.push(signal),
      disassociate: () => {},
      hangUp: () => {},
      after: () => () => {},
    });
    this.clock = host;
    this.files = new FileState(host);
    this.files.wakeUp = () => this.wakeUp();
    this.network = new Network(this);
  }

  sendSignalToThread(_thread: Thread, signo: number): void {
    this.signals.push(signo);
  }

  fileOwner(kind: FileOwner["kind"], id: number): FileOwner {
    return { kind, id, send: ({ signal }) => this.signals.push(signal) > 0 };
  }

  get comm(): string {
    return this.exePath.slice(this.exePath.lastIndexOf("/") + 1);
  }

  get job(): HostJob {
    return this.host.job?.() ?? { group: this.pid, session: this.pid, terminal: 0n, foreground: this.pid };
  }

  setForeground(): void {}

  get others(): Process[] {
    return [this];
  }

  useMask(umask: number): void {
    this.host.umask(umask);
  }

  wakeUp(): void {
    this.wakeUps++;
  }

  /** Gives the scratch memory back. */
  dispose(): void {
    this.memory.space.unmap(this.scratch, 0x1_0000);
  }

  /** Room for `size` bytes of scratch memory. */
  room(size: number): number {
    const at = this.#next;
    this.#next += Math.ceil(size / 16) * 16;
    return at;
  }

  /** Forgets all room taken. */
  reset(): void {
    this.#next = this.scratch;
  }

  /** Puts bytes or a NUL-terminated string into scratch memory. */
  put(value: string | Uint8Array): number {
    const bytes = typeof value === "string" ? pathToBytes(`${value}\0`) : value;
    const at = this.room(bytes.length);
    this.memory.writeBytes(at, bytes);
    return at;
  }

  text(address: number, length: number): string {
    return new TextDecoder().decode(this.memory.readBytes(address, length));
  }

  /** Calls a system call the way the dispatcher does: failures come back as negative error numbers. */
  start(name: string, ...values: (number | bigint | string)[]): SyscallResult {
    const row = rows.get(name);
    if (row === undefined) throw new Error(`no system call ${name}`);
    const registers = new BigUint64Array(6);
    values.forEach((value, i) => {
      const word = typeof value === "string" ? this.put(value) : value;
      registers[i] = BigInt.asUintN(64, BigInt(word));
    });
    return this.guard(() => row.handler(this, this.thread, new Args(registers)));
  }

  guard<T>(run: () => T): T | number {
    try {
      return run();
    } catch (error) {
      if (error instanceof SyscallError) return -error.value;
      if (error instanceof GuestFault) return -errno.EFAULT;
      throw error;
    }
  }

  /** Calls a system call that must not wait. */
  call(name: string, ...values: (number | bigint | string)[]): number {
    const result = this.start(name, ...values);
    if (result instanceof Block) throw new Error(`${name} waits`);
    return Number(result);
  }

  /** Calls a system call that must wait, and returns what it waits for. */
  wait(name: string, ...values: (number | bigint | string)[]): Waiting {
    const result = this.start(name, ...values);
    if (!(result instanceof Block)) throw new Error(`${name} does not wait but returns ${result}`);
    return new Waiting(this, result);
  }
}

/** A system call under way: retries at each wake-up, as the scheduler would. */
export class Waiting {
  readonly block: Block;
  /** What the call returned, once it has. */
  result: number | undefined;
  readonly #process: FakeProcess;
  readonly #waiter: () => void;

  constructor(process: FakeProcess, block: Block) {
    this.block = block;
    this.#process = process;
    this.#waiter = () => this.#retry();
    for (const queue of block.on) queue.add(this.#waiter);
  }

  #retry(): void {
    if (this.result !== undefined) return;
    const result = this.#process.guard(() => this.block.retry());
    if (result !== null) this.#end(Number(result));
  }

  #end(result: number): void {
    this.result = result;
    for (const queue of this.block.on) queue.remove(this.#waiter);
    this.block.cleanup?.();
  }

  /** Lets the deadline pass. */
  expire(): number {
    this.#end(Number(this.block.timeout()));
    return this.result as number;
  }

  /** Waits for the host. */
  async done(): Promise<number> {
    for (let i = 0; i < 2000 && this.result === undefined; i++) await new Promise((r) => setTimeout(r, 1));
    if (this.result === undefined) throw new Error("the call is still waiting");
    return this.result;
  }
}
