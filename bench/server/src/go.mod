module goemu.test/bench/server

go 1.25
