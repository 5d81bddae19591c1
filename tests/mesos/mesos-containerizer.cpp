// mesos-containerizer launch: what an agent runs to become a container.
//
// The program itself is in no package, its subcommand is in the library: an object of the class is put together here and run as
// Subcommand::dispatch does it (mesos: src/slave/containerizer/mesos/main.cpp, stout/subcommand.hpp).

#include <new>

#include "library.h"

extern "C" {
void flags(void* here) asm("_ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev");
void* get_flags(Room*) asm("_ZN5mesos8internal5slave24MesosContainerizerLaunch8getFlagsEv");
int execute(Room*) asm("_ZN5mesos8internal5slave24MesosContainerizerLaunch7executeEv");
// Returns an object, which is to be constructed in `warnings`.
void load(Room* warnings, void* flags, const std::string& prefix) asm(
  "_ZN5flags9FlagsBase4loadERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
extern void* const vtable[] asm("_ZTVN5mesos8internal5slave24MesosContainerizerLaunchE");
// Begins with the place of the virtual base, FlagsBase, within the flags.
extern const long flags_vtable[] asm("_ZTVN5mesos8internal5slave24MesosContainerizerLaunch5FlagsE");
}

int main(int argc, char** argv) {
  if (argc < 2 || strcmp(argv[1], "launch") != 0) {
    fprintf(stderr, "usage: mesos-containerizer launch\n");
    return EXIT_FAILURE;
  }
  static Room launch, warnings;
  auto base = static_cast<char*>(get_flags(&launch));
  flags(base - flags_vtable[0]);
  new (launch.bytes) const void*(vtable + 2);
  new (launch.bytes + sizeof(void*)) std::string(argv[1]);
  load(&warnings, get_flags(&launch), "MESOS_CONTAINERIZER_");
  return execute(&launch);
}
