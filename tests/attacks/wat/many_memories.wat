;; Has two memories, each in a module of its own, and grows them in turn, a megabyte at a time, until one is denied more, and then
;; aborts. The limit is on their sum: the call ends as `exceeded func_ram`.
(component
  (core module $other
    (memory 1)
    (func (export "grow") (result i32) (memory.grow (i32.const 16))))
  (core module $guest
    (import "other" "grow" (func $grow-other (result i32)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "call") (param i32 i32 i32 i32) (result i32)
      (loop $grow
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (if (i32.eq (call $grow-other) (i32.const -1)) (then unreachable))
        (br $grow))
      unreachable))
  (core instance $other (instantiate $other))
  (core instance $instance (instantiate $guest (with "other" (instance $other))))
  (type $failure (record (field "message" string) (field "causes" (list string))))
  (type $call-error (variant (case "failed" $failure) (case "refused" string)))
  (func $call (param "name" string) (param "input" (list u8)) (result (result (list u8) (error $call-error)))
    (canon lift
      (core func $instance "call")
      (memory (core memory $instance "memory"))
      (realloc (core func $instance "realloc"))))
  (instance $handler
    (export "failure" (type $failure))
    (export "call-error" (type $call-error))
    (export "call" (func $call)))
  (export "burla:function/handler@0.1.0" (instance $handler))
  (@custom "burla:functions" "{\"name\":\"many_memories::attack\",\"signature\":\"()\",\"doc\":\"\",\"source\":\"\"}"))
