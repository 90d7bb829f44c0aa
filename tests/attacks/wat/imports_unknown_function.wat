;; Imports an interface that every node offers, and from it a function that none does. Names pass the scheduler; the node cannot
;; link it, and the job is refused.
(import "wasi:cli/environment@0.2.0" (instance (export "set-host-name" (func (param "name" string)))))
(core module $guest
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
