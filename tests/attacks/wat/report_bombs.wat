;; Tells its node more than the SDK would. The input says what: a panic's message of 20 MiB, which is more than a host call may be
;; given; an output of the largest size that can be said, or of a GiB; an output of 16 MiB, a thousand times over, and then one of
;; one byte. The first three end the call at a limit, the last is done: an announcement takes the place of the one before.
(component
  (import "burla:function/report@0.1.0" (instance $report
    (export "panicked" (func (param "message" string) (param "location" (option string))))
    (export "returning" (func (param "bytes" u64)))))
  (core module $memory
    (memory (export "memory") 321)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $memory))
  (core func $panicked (canon lower (func $report "panicked") (memory (core memory $memory "memory"))))
  (core func $returning (canon lower (func $report "returning")))
  (core module $guest
    (import "memory" "memory" (memory 321))
    (import "report" "panicked" (func $panicked (param i32 i32 i32 i32 i32)))
    (import "report" "returning" (func $returning (param i64)))
    (data (i32.const 4) "\64\00\00\00\01\00\00\00")
    (data (i32.const 0x64) "\07")
    (func (export "call") (param i32 i32) (param $input i32) (param i32) (result i32)
      (local $times i32)
      (block $3 (block $2 (block $1 (block $0
        ;; A small number is one byte of MessagePack.
        (br_table $0 $1 $2 $3 (i32.load8_u (local.get $input))))
        (call $panicked (i32.const 0x1000) (i32.const 0x1400000) (i32.const 0) (i32.const 0) (i32.const 0))
        unreachable)
        (call $returning (i64.const -1))
        unreachable)
        (call $returning (i64.const 0x40000000))
        unreachable)
      (loop $again
        (call $returning (i64.const 0x1000000))
        (br_if $again (i32.lt_u (local.tee $times (i32.add (local.get $times) (i32.const 1))) (i32.const 1000))))
      (i32.const 0)))
  (core instance $instance
    (instantiate $guest
      (with "memory" (instance $memory))
      (with "report" (instance (export "panicked" (func $panicked)) (export "returning" (func $returning))))))
  (type $failure (record (field "message" string) (field "causes" (list string))))
  (type $call-error (variant (case "failed" $failure) (case "refused" string)))
  (func $call (param "name" string) (param "input" (list u8)) (result (result (list u8) (error $call-error)))
    (canon lift
      (core func $instance "call")
      (memory (core memory $memory "memory"))
      (realloc (core func $memory "realloc"))))
  (instance $handler
    (export "failure" (type $failure))
    (export "call-error" (type $call-error))
    (export "call" (func $call)))
  (export "burla:function/handler@0.1.0" (instance $handler))
  (@custom "burla:functions" "{\"name\":\"report_bombs::attack\",\"signature\":\"(way: u32)\",\"doc\":\"\",\"source\":\"\"}"))
