"""Runs an exported file in a separate process; started by `session.Session`, never imported.

The process is separate because a bad int8 file can crash its interpreter, and because a fair timing
on one thread needs a TensorFlow that was started with one. It imports only NumPy and the runtime of
the file's format, and exchanges pickles over its standard streams: first `{"inputs": {name: (shape,
dtype)}, "outputs": [...], ...}`, then for each dict of arrays a pair (dict of arrays, seconds). A
number releases the file, and is the time in seconds to wait for the path of another one, of the
same kind.
"""

import os
import pickle
import sys
import threading
import time


def open_tflite(path, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    partitions = sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    if not interpreter.get_signature_list():
        return _by_tensors(interpreter, partitions)
    runner = interpreter.get_signature_runner()
    inputs = {
        name: (tuple(map(int, d["shape"])), d["dtype"].__name__)
        for name, d in runner.get_input_details().items()
    }
    about = {
        "inputs": inputs,
        "outputs": list(runner.get_output_details()),
        "partitions": partitions,
    }
    return about, lambda arrays: runner(**arrays)


def _by_tensors(interpreter, partitions):
    """Runs a part of a file, which has no signature and names its inputs and outputs by tensors."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(arrays):
        for each in inputs:
            interpreter.set_tensor(each["index"], arrays[each["name"]])
        interpreter.invoke()
        return {each["name"]: interpreter.get_tensor(each["index"]) for each in outputs}

    about = {
        "inputs": {d["name"]: (tuple(map(int, d["shape"])), d["dtype"].__name__) for d in inputs},
        "outputs": [each["name"] for each in outputs],
        "partitions": partitions,
    }
    return about, run


def resident():
    """The megabytes that the process holds, if the system says so."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return None


def open_onnx(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 2  # with warnings, which the session shows
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    dtypes = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int32)": "int32"}
    inputs = {
        i.name: (
            tuple(side if isinstance(side, int) else None for side in i.shape),
            dtypes.get(i.type, i.type),
        )
        for i in session.get_inputs()
    }
    outputs = [o.name for o in session.get_outputs()]
    about = {
        "inputs": inputs,
        "outputs": outputs,
        "metadata": dict(session.get_modelmeta().custom_metadata_map),
    }
    return about, lambda arrays: dict(zip(outputs, session.run(outputs, arrays)))


def import_tensorflow():
    """Imports TensorFlow without the optional packages that it and Keras also import if they are
    installed, and that nothing here needs: they cost two seconds or more of every start."""
    for name in ("jax", "matplotlib", "sklearn"):
        sys.modules.setdefault(name, None)
    import tensorflow

    return tensorflow


def open_saved_model(path, threads):
    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = tf.saved_model.load(path)
    serve = model.signatures["serving_default"]
    specs = serve.structured_input_signature[1]
    inputs = {name: (tuple(s.shape), s.dtype.name) for name, s in specs.items()}

    def run(arrays):
        found = serve(**{name: tf.constant(value) for name, value in arrays.items()})
        return {name: value.numpy() for name, value in found.items()}

    return {"inputs": inputs, "outputs": sorted(serve.structured_outputs)}, run


def open_keras(path, threads):
    tf = import_tensorflow()
    import keras

    import keras_detblocks  # noqa: F401  (registers the layers)

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = keras.models.load_model(path, compile=False)
    serve = tf.function(
        lambda image: model.postprocess(model(image, training=False), tuple(image.shape[1:3]))
    )

    def run(arrays):
        return {name: value.numpy() for name, value in serve(tf.constant(arrays["image"])).items()}

    return {
        "inputs": {"image": (tuple(model.input_shape), "float32")},
        "outputs": ["boxes", "scores", "labels", "count"],
    }, run


OPENERS = {
    "tflite": open_tflite,
    "onnx": open_onnx,
    "saved_model": open_saved_model,
    "keras": open_keras,
}


def main():
    path, kind, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # The runtimes write to standard output; the answers go through a copy of it that only this
    # function knows.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(value):
        pickle.dump(value, answers, protocol=5)
        answers.flush()

    while path is not None:
        try:
            about, run = OPENERS[kind](path, threads)
        except Exception as error:  # whatever it is, the parent reports it with the file's name
            return answer(f"{type(error).__name__}: {error}")
        answer(about)
        seconds = answer_calls(run, answer)
        del run
        path = next_path(seconds)


def received():
    """The next message of the parent; None when it is gone."""
    try:
        return pickle.load(sys.stdin.buffer)
    except EOFError:
        return None


def answer_calls(run, answer):
    """Runs the file on every message until it is released; returns how long to wait then."""
    while isinstance(arrays := received(), dict):
        try:
            start, cpu = time.perf_counter(), time.process_time()
            found = run(arrays)
            times = time.perf_counter() - start, time.process_time() - cpu
            answer((found, *times, resident()))
        except Exception as error:
            answer(f"{type(error).__name__}: {error}")
    return arrays


def next_path(seconds):
    """The path that arrives within these seconds; the process ends if none does."""
    if seconds is None:
        return None
    end = threading.Timer(seconds, os._exit, (0,))
    end.daemon = True
    end.start()
    path = received()
    end.cancel()
    return path


if __name__ == "__main__":
    main()
