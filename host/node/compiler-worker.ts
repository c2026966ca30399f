// The worker behind startCompilerThread. In the build it loads one file, parts of which are compiled already.
void import("./compiler-service.ts");
