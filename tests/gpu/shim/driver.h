// Between driver.cpp and cublaslt.cpp: work that goes to a stream.
#ifndef STM_SHIM_DRIVER_H
#define STM_SHIM_DRIVER_H

#include <functional>
#include <string>

struct CUstream_st;

// Does its work and returns "" or what is wrong.
typedef std::function<std::string()> StreamWork;
// 0, or a CUresult. The work is done when the stream is waited for, or becomes a part of the graph that is captured.
int stream_enqueue(CUstream_st *stream, StreamWork work);

#endif
