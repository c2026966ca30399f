/** goemu as a library: an x86-64 Linux machine for a program, its files, its clock and its streams. */
export { CpuModelError, LEVELS, parseCpuModel } from "./emu/cpu/features.ts";
export { CpuState, REG, REGISTER_NAMES } from "./emu/cpu/state.ts";
export { GuestFault, GuestMemory } from "./emu/memory/guest-memory.ts";
export type { EventLoop } from "./emu/threads/scheduler.ts";
export { type Executable, LoadError, readExecutable } from "./loader/elf.ts";
export { SymbolTable } from "./loader/symbols/table.ts";
export { SyscallError } from "./syscalls/abi/errno.ts";
export { JsEventLoop } from "./syscalls/host/event-loop.ts";
export type { Host, HostFile, HostFileSystem, HostInput, HostOutput } from "./syscalls/host/host.ts";
export { MemoryHost, type MemoryHostOptions } from "./syscalls/host/memory-host.ts";
export { NodeHost } from "./syscalls/host/node-host.ts";
export type { ExitStatus, LinuxProcess } from "./syscalls/linux-process.ts";
export { Machine, type MachineOptions, type Statistics } from "./syscalls/machine.ts";
export type { SyscallTracer } from "./syscalls/tracer.ts";
