;; Traps while its instance is made. The call is trapped, as if that had happened later.
(core module $guest
  (memory (export "memory") 1)
  (func $start unreachable)
  (start $start)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32) unreachable))
