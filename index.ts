/** goemu as a library: an x86-64 Linux machine for a program, its files, its clock and its streams. */
import { nodeProblem } from "./host/node/version.ts";

export { CpuModelError, LEVELS, parseCpuModel } from "./emu/cpu/features.ts";
export { CpuState, REG, REGISTER_NAMES } from "./emu/cpu/state.ts";
export type { CompileMessage, CompileReply, CompilerThread } from "./emu/jit/compile-protocol.ts";
export { CompileServer } from "./emu/jit/compile-server.ts";
export { GuestFault, GuestMemory } from "./emu/memory/guest-memory.ts";
export type { EventLoop } from "./emu/threads/scheduler.ts";
export { JsEventLoop } from "./host/event-loop.ts";
export type { Host, HostFile, HostFileSystem, HostInput, HostOutput } from "./host/host.ts";
export { MemoryHost, type MemoryHostOptions } from "./host/memory/memory-host.ts";
export type {
  HostConnection,
  HostConnectionEvents,
  HostDatagram,
  HostDatagramEvents,
  HostDatagramOptions,
  HostDatagramSettings,
  HostEndpoint,
  HostInterfaceAddress,
  HostListener,
  HostListenOptions,
  HostNetwork,
  HostPath,
} from "./host/network.ts";
export { startCompilerThread } from "./host/node/compiler-thread.ts";
export { NodeHost } from "./host/node/host.ts";
export type { HostJob, HostTerminal, WindowSize } from "./host/terminal.ts";
export type { FileSource } from "./loader/bytes.ts";
export { type Executable, LoadError, readExecutable } from "./loader/elf.ts";
export { SymbolTable } from "./loader/symbols/table.ts";
export { GoRuntimeError } from "./observe/go/layout.ts";
export {
  type GoProcessor,
  GoRuntime,
  type Goroutine,
  type GoScheduler,
  type GoThread,
} from "./observe/go/runtime.ts";
export {
  type GoroutineRecord,
  type Place,
  type SchedulerEvent,
  SchedulerEvents,
} from "./observe/go/scheduler-events.ts";
export { type Frame, formatStack } from "./observe/go/stack.ts";
export { HtmlPage } from "./observe/html/page.ts";
export {
  type AddressCallback,
  type Probe,
  ProbeError,
  Probes,
  type SyscallCallbacks,
  type SyscallEntry,
  type ThreadCallbacks,
} from "./observe/probes.ts";
export { flameGraph } from "./observe/profile/flame.ts";
export { foldedStacks } from "./observe/profile/folded.ts";
export { pprofProfile } from "./observe/profile/pprof.ts";
export type { Profile, Site, StackCount } from "./observe/profile/profile.ts";
export { Profiler, type ProfilerOptions } from "./observe/profile/profiler.ts";
export { printRoad, type RoadFilter, roadJson } from "./observe/road/print.ts";
export { Road, type RoadNode } from "./observe/road/road.ts";
export { ChromeTrace } from "./observe/trace/chrome.ts";
export { GoTrace } from "./observe/trace/go-trace.ts";
export { type Lane, type SliceKind, Timeline, type TimelineSink } from "./observe/trace/timeline.ts";
export type { WatchAccess, WatchCallback } from "./observe/watch.ts";
export { SyscallError } from "./syscalls/abi/errno.ts";
export type { Termios } from "./syscalls/abi/termios.ts";
export type { ExitStatus, LinuxProcess } from "./syscalls/linux-process.ts";
export { Machine, type MachineOptions, type Statistics } from "./syscalls/machine.ts";
export type { SyscallTracer } from "./syscalls/tracer.ts";

// An old Node.js would fail later, at the first thing of WebAssembly that it does not know. In a browser nothing is asked.
const problem = nodeProblem(globalThis.process?.versions?.node ?? "99");
if (problem !== undefined) throw new Error(`goemu: ${problem}`);
