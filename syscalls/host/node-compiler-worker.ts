// The worker behind startCompilerThread. What it runs comes from V8's compile cache, which each thread turns on itself.
import { enableCompileCache } from "node:module";

enableCompileCache();
void import("./node-compiler-service.ts");
