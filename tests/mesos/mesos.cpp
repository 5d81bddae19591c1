// mesos master | mesos agent LEADER: one daemon of Apache Mesos 1.11, out of the library that its Python package carries.
//
// The library has no `main` of a daemon, but its scheduler driver can bring up a "local" cluster: a master, and MESOS_NUM_SLAVES
// agents, in this process, configured by the daemons' own MESOS_* variables (mesos: src/local/local.cpp). `master` is such a cluster
// without an agent. `agent` is one with one agent, whose detector of the leading master is told of LEADER, `master@ADDRESS:PORT`,
// instead of the master in this process; that one then is a standby which never leads, and the agent is as alone with its process
// as an agent is. Killing it leaves the master, and its containers, as they are.

#include "library.h"

// The callbacks of a scheduler (include/mesos/scheduler.hpp). The driver is never started, so none is called.
struct Scheduler {
  virtual ~Scheduler() {}
};

extern "C" {
bool process_initialize(const Optional<std::string>& delegate, const Optional<std::string>& readwrite, const Optional<std::string>& readonly)
  asm("_ZN7process10initializeERK6OptionINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEES9_S9_");
void framework_info(Room*) asm("_ZN5mesos13FrameworkInfoC1Ev");
void driver(Room*, Scheduler*, const Room* framework, const std::string& master) asm(
  "_ZN5mesos20MesosSchedulerDriverC1EPNS_9SchedulerERKNS_13FrameworkInfoERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
void upid(Room*, const std::string&) asm("_ZN7process4UPIDC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
void appoint(void* detector, const void* master) asm(
  "_ZN5mesos6master8detector24StandaloneMasterDetector7appointERK6OptionINS_10MasterInfoEE");
void appoint_upid(void* detector, const Room* upid) asm(
  "_ZN5mesos6master8detector24StandaloneMasterDetector7appointERKN7process4UPIDE");
}

namespace {

Room leader;

void appoint_leader(void* detector, const void*) { appoint_upid(detector, &leader); }

}  // namespace

int main(int argc, char** argv) {
  bool master = argc == 2 && strcmp(argv[1], "master") == 0;
  bool agent = argc == 3 && strcmp(argv[1], "agent") == 0;
  if (!master && !agent) {
    fprintf(stderr, "usage: mesos master | mesos agent LEADER\n");
    return EXIT_FAILURE;
  }
  // As the daemons do it, so that /api/v1 is theirs.
  Optional<std::string> none;
  process_initialize(Optional<std::string>(master ? "master" : "slave(1)"), none, none);
  if (agent) {
    upid(&leader, argv[2]);
    static Diversion detection(appoint, appoint_leader);
    if (getenv("MESOS_CSI_PLUGIN_CONFIG_DIR")) provide_csi_server();
  }
  setenv("MESOS_NUM_SLAVES", master ? "0" : "1", true);
  static Room framework, rest;
  static Scheduler scheduler;
  framework_info(&framework);
  driver(&rest, &scheduler, &framework, "local");
  for (;;) pause();
}
