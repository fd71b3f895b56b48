/* Stands in for libcurl in the cluster's process; see build.
 *
 * An agent asks libcurl for the size of a URI that shall be cached. No transfer succeeds here, and then the agent
 * does without the cache: the URI is fetched as if nothing had been said about caching. */

enum { COULD_NOT_CONNECT = 7 };

static char easy;

int curl_global_init(long flags) { return 0; }
void *curl_easy_init(void) { return &easy; }
int curl_easy_setopt(void *easy, int option, ...) { return 0; }
int curl_easy_getinfo(void *easy, int info, ...) { return 0; }
int curl_easy_perform(void *easy) { return COULD_NOT_CONNECT; }
const char *curl_easy_strerror(int code) { return "there is no libcurl in a cluster for tests"; }
void curl_easy_cleanup(void *easy) {}
