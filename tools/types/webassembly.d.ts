/**
 * The part of the WebAssembly JavaScript interface (W3C, version 2.0) that Shoal uses. TypeScript has these names only in its
 * browser library, which would let `document` and `window` compile here too.
 */
declare namespace WebAssembly {
  type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'externref' | 'anyfunc';
  type ImportExportKind = 'function' | 'table' | 'memory' | 'global' | 'tag';
  // What an instance exports is known to whoever emitted the module, not to the type checker.
  // biome-ignore lint/suspicious/noExplicitAny: the embedder's signature is the module's, see above
  type Exports = Record<string, any>;
  type ModuleImports = Record<string, unknown>;
  type Imports = Record<string, ModuleImports>;

  interface MemoryDescriptor {
    /** In 64 KiB pages. */
    readonly initial: number;
    readonly maximum?: number;
    readonly shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor & { readonly shared: true; readonly maximum: number });
    constructor(descriptor: MemoryDescriptor);
    /** A SharedArrayBuffer when the memory is shared. */
    readonly buffer: ArrayBufferLike;
    grow(pages: number): number;
  }
  class Table {
    constructor(descriptor: { readonly element: 'anyfunc' | 'externref'; readonly initial: number; readonly maximum?: number });
    readonly length: number;
    get(index: number): unknown;
    set(index: number, value?: unknown): void;
    grow(count: number, value?: unknown): number;
  }
  class Global<T = unknown> {
    constructor(descriptor: { readonly value: ValueType; readonly mutable?: boolean }, value?: T);
    value: T;
  }
  class Module {
    constructor(bytes: ArrayBufferView<ArrayBufferLike> | ArrayBufferLike);
    static exports(module: Module): { name: string; kind: ImportExportKind }[];
    static imports(module: Module): { module: string; name: string; kind: ImportExportKind }[];
    static customSections(module: Module, name: string): ArrayBuffer[];
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }
  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  function validate(bytes: ArrayBufferView<ArrayBufferLike> | ArrayBufferLike): boolean;
  function compile(bytes: ArrayBufferView<ArrayBufferLike> | ArrayBufferLike): Promise<Module>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
}
