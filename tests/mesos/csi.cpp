// The CSI server, which calls the plugins for the isolator `volume/csi`.
//
// An agent's `main` makes one and hands it to its containerizer and its agent (mesos: src/slave/main.cpp); a local cluster hands
// them none. So the calls that make those two are diverted, once each, and made again with a server.

#include <memory>

#include "library.h"

// A server is owned through this (3rdparty/libprocess/include/process/owned.hpp).
using Owned = std::shared_ptr<void*>;

extern "C" {
void url_parse(Room* result, const std::string&) asm(
  "_ZN7process4http3URL5parseERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
void csi_server(Optional<Owned>* result, const void* flags, const void* url, void* generator, void* resolver) asm(
  "_ZN5mesos8internal5slave9CSIServer6createERKNS1_5FlagsERKN7process4http3URLEPNS_15SecretGeneratorEPNS_14SecretResolverE");
void* containerizer(void* result, const void* flags, bool local, void* fetcher, void* collector, void* resolver, void* gids,
  void* tracker, void* server) asm(
  "_ZN5mesos8internal5slave13Containerizer6createERKNS1_5FlagsEbPNS1_7FetcherEPNS1_16GarbageCollectorEPNS_14SecretResolverEPNS1_16"
  "VolumeGidManagerEPNS0_20PendingFutureTrackerEPNS1_9CSIServerE");
void agent(void* self, const std::string& id, const void* flags, void* detector, void* containerizer, void* files, void* collector,
  void* manager, void* estimator, void* controller, void* generator, void* gids, void* tracker, Owned& server, const void* socket,
  const void* authorizer) asm(
  "_ZN5mesos8internal5slave5SlaveC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS1_5FlagsEPNS_6master8detector14Master"
  "DetectorEPNS1_13ContainerizerEPNS0_5FilesEPNS1_16GarbageCollectorEPNS1_23TaskStatusUpdateManagerEPNS_5slave17ResourceEstimator"
  "EPNSQ_13QoSControllerEPNS_15SecretGeneratorEPNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerEON7process5OwnedINS1_9CSIServer"
  "EEERK6OptionINS11_7network8internal6SocketINS17_4unix7AddressEEEERKS16_IPNS_10AuthorizerEE");
}

namespace {

Diversion* containerizer_diversion;
Diversion* agent_diversion;
Owned server;

void* containerizer_with_server(void* result, const void* flags, bool local, void* fetcher, void* collector, void* resolver,
  void* gids, void* tracker, void*) {
  containerizer_diversion->end();
  // Only plugins that the agent itself starts make use of the agent's address; here they are started by others.
  static Room url;
  url_parse(&url, "http://127.0.0.1/");
  static Optional<Owned> made;
  csi_server(&made, flags, url.bytes + offsetof(Optional<std::string>, value), nullptr, resolver);
  if (made.state != made.SOME) {
    fprintf(stderr, "mesos: there is no CSI server; is `volume/csi` in MESOS_ISOLATION, and MESOS_CSI_PLUGIN_CONFIG_DIR there?\n");
    exit(EXIT_FAILURE);
  }
  server = made.value;
  return containerizer(result, flags, local, fetcher, collector, resolver, gids, tracker, *server);
}

void agent_with_server(void* self, const std::string& id, const void* flags, void* detector, void* containerizer, void* files,
  void* collector, void* manager, void* estimator, void* controller, void* generator, void* gids, void* tracker, Owned&,
  const void* socket, const void* authorizer) {
  agent_diversion->end();
  agent(self, id, flags, detector, containerizer, files, collector, manager, estimator, controller, generator, gids, tracker, server,
    socket, authorizer);
}

}  // namespace

void provide_csi_server() {
  containerizer_diversion = new Diversion(containerizer, containerizer_with_server);
  agent_diversion = new Diversion(agent, agent_with_server);
}
