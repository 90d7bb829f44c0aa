;; Imports what no node offers: a part of WASI that is not offered, and something of nobody's. The scheduler does not take it in,
;; and says which.
(import "wasi:keyvalue/store@0.2.0" (instance))
(import "evil:host/shell@1.0.0" (instance (export "run" (func (param "command" string)))))
(core module $guest
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
