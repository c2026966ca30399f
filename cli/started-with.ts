import type { InheritedStream } from "../host/host.ts";
import { NodeInherited } from "../host/node/host.ts";
import { inheritedDescriptors } from "../host/node/inherited.ts";

/** Looked for when goemu is loaded: later there are files of its own. */
const DESCRIPTORS = inheritedDescriptors();

/** What goemu was started with besides the standard streams, for its guest: for the first, if one run follows another. */
export const startedWith = (): InheritedStream[] =>
  DESCRIPTORS.splice(0).map((fd) => ({ fd, stream: new NodeInherited(fd, undefined) }));
