// What the library's objects and functions are to the programs here. Its headers are in no package, so no more is declared than what
// is used, under the names that it exports.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

// Room for one of its objects, or for a result that is to be constructed.
struct alignas(64) Room {
  char bytes[8192] = {};
};

// stout's Option (3rdparty/stout/include/stout/option.hpp); a Try is one too, with the error after it (try.hpp).
template <typename T>
struct Optional {
  enum { SOME, NONE } state = NONE;
  union {
    T value;
  };
  Optional() {}
  explicit Optional(const T& some) : state(SOME), value(some) {}
  ~Optional() {}
};

// Has every call of a function in the library go to another one, until it ends.
class Diversion {
 public:
  template <typename From, typename To>
  Diversion(From* from, To* to) : place(reinterpret_cast<void*>(from)) {
    unsigned char jump[sizeof original] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};  // movabs $to, %rax; jmp *%rax
    memcpy(jump + 2, &to, sizeof to);
    memcpy(original, place, sizeof original);
    write(jump);
  }

  void end() { write(original); }

 private:
  void write(const unsigned char* code) {
    auto page = static_cast<unsigned long>(sysconf(_SC_PAGESIZE));
    auto start = reinterpret_cast<unsigned long>(place) / page * page;
    if (mprotect(reinterpret_cast<void*>(start), 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
      perror("mesos: mprotect");
      exit(EXIT_FAILURE);
    }
    memcpy(place, code, sizeof original);
  }

  void* place;
  unsigned char original[12];
};

// Gives the agent of this process a CSI server, as the real one has when MESOS_CSI_PLUGIN_CONFIG_DIR is set.
void provide_csi_server();
