// mesos-cluster: a master and its agents in one process. There are no arguments; ci/mesos sets the environment.
//
// Mesos' scheduler driver starts a whole cluster when the name of its master is "local". It does so as soon as it is
// constructed, and that is all that is done with it here.
#include "library.hpp"

int main() {
  void* mesos = load();

  // The first one names the actor that gets the requests which are addressed to none. The driver would name itself, but
  // schedulers have to reach the master at /api/v1/scheduler.
  auto initialize = find<bool(const OptionalString&, const OptionalString&, const OptionalString&)>(
      mesos, "_ZN7process10initializeERK6OptionI" STRING "ES9_S9_");
  initialize("master", "mesos-master-readwrite", "mesos-master-readonly");

  // More than enough memory for either object.
  alignas(16) static char framework[1 << 14];
  alignas(16) static char driver[1 << 14];
  // The driver would call its scheduler only after it was started.
  static void* scheduler[16];

  find<void(void*)>(mesos, "_ZN5mesos13FrameworkInfoC1Ev")(framework);
  auto construct = find<void(void*, void*, const void*, const std::string&)>(
      mesos, "_ZN5mesos20MesosSchedulerDriverC1EPNS_9SchedulerERKNS_13FrameworkInfoERK" STRING);
  construct(driver, scheduler, framework, "local");

  for (;;) pause();
}
